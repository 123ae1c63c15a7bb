"""Says messages in a person's language, from the Fluent files in bot/locales. Knows no platform."""

from __future__ import annotations

import os
import unicodedata
from functools import cache
from importlib import resources
from typing import Any

from fluent.runtime import FluentBundle, FluentResource

from bot.messages import Message, Param

LANGUAGES = ("en", "ru", "zh")
DEFAULT = "en"
NAMES = {"en": "English", "ru": "Русский", "zh": "中文"}

# A right-to-left word keeps its neighbours in order between these two (Unicode: isolates).
_ISOLATE, _POP = "\u2068", "\u2069"


class Localiser:
    """Turns message ids into sentences of one language; what it lacks is said in English."""

    def __init__(self, language: str = DEFAULT) -> None:
        """`language`: one of LANGUAGES; anything else means English."""
        self.language = language if language in LANGUAGES else DEFAULT

    def __call__(self, id_: str, /, **params: Param) -> str:
        """Return the message `id_`. Raises KeyError when no language has it."""
        for language in (self.language, DEFAULT):
            bundle = _bundle(language)
            if bundle.has_message(id_):
                return _format(bundle, id_, params)
        raise KeyError(id_)

    def message(self, message: Message) -> str:
        """Return a message value as a sentence."""
        return self(message.id, **message.params)


def language_of(tag: str | None) -> str | None:
    """Return the language we speak for a tag such as `zh-Hans`, `ru_RU.UTF-8`; None when we don't."""
    prefix = (tag or "").replace("_", "-").split("-")[0].split(".")[0].lower()
    return prefix if prefix in LANGUAGES else None


def language_of_environment() -> str | None:
    """Return the language that the environment of this process asks for, if we speak it."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return language_of(os.environ[name])
    return None


def source(language: str) -> str:
    """Return the text of a language's Fluent file."""
    return resources.files("bot").joinpath("locales", f"{language}.ftl").read_text("utf-8")


@cache
def _bundle(language: str) -> Any:
    bundle = FluentBundle([language], use_isolating=False)
    bundle.add_resource(FluentResource(source(language)))
    return bundle


def _format(bundle: Any, id_: str, params: dict[str, Param]) -> str:
    values = {name: isolated(value) if isinstance(value, str) else value for name, value in params.items()}
    text, errors = bundle.format_pattern(bundle.get_message(id_).value, values)
    if errors:
        raise errors[0]
    return str(text)


def isolated(text: str) -> str:
    """Return text in marks that keep what is around it in order, if any of it runs from right to left."""
    if _ISOLATE not in text and any(
        unicodedata.bidirectional(character) in ("R", "AL") for character in text
    ):
        return f"{_ISOLATE}{text}{_POP}"
    return text
