"""Every sentence in every language: present, with the same variables, and grammatical where numbers count."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fluent.syntax import FluentParser, ast
from fluent.syntax.visitor import Visitor

from bot.catalog import CATALOG, SUMMARY_CHARS
from bot.localisation import LANGUAGES, Localiser, language_of, language_of_environment, source
from bot.preferences import NAMES
from engine.schema import ErrorCode

BOT = Path(__file__).parents[2] / "bot"


class Variables(Visitor):  # type: ignore[misc]
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_VariableReference(self, node: ast.VariableReference) -> None:
        self.names.add(node.id.name)


def messages(language: str) -> dict[str, set[str]]:
    """Return each message id with the variables that it uses. Fails on a line that Fluent does not read."""
    found: dict[str, set[str]] = {}
    for entry in FluentParser().parse(source(language)).body:
        assert not isinstance(entry, ast.Junk), entry.content
        if isinstance(entry, ast.Message):
            assert entry.id.name not in found, f"{entry.id.name} is there twice"
            visitor = Variables()
            visitor.visit(entry)
            found[entry.id.name] = visitor.names
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_message_with_the_same_variables(language: str) -> None:
    assert messages(language) == messages("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_can_be_said(language: str) -> None:
    say = Localiser(language)
    for id_, variables in messages(language).items():
        for number in (0, 1, 2, 5, 21):
            text = say(id_, **dict.fromkeys(variables, number))
            assert text.strip(), id_
            assert "{" not in text, id_


def test_every_message_that_the_code_names_is_there_and_none_is_left_over() -> None:
    code = "\n".join(path.read_text("utf-8") for path in BOT.rglob("*.py"))
    named = set(re.findall(r'"([a-z]+(?:-[a-z0-9]+)*)"', code))
    made = {
        f"{command.name}-{part}" for command in CATALOG.commands for part in ("summary", "usage", "details")
    }
    made |= {argument.help_id for command in CATALOG.commands for argument in command.arguments}
    made |= {"setting-" + name.replace("_", "-") for name in (*NAMES, "language")}
    made |= {"engine-" + code.value.replace("_", "-") for code in ErrorCode}
    made |= {f"kind-{kind}" for kind in ("sentence", "joke", "continue", "simpler", "harder")}
    there = set(messages("en"))
    assert made <= there
    assert there <= named | made


@pytest.mark.parametrize("language", LANGUAGES)
def test_menus_show_every_summary_and_argument_whole(language: str) -> None:
    say = Localiser(language)
    for command in CATALOG.commands:
        assert len(say(f"{command.name}-summary")) <= SUMMARY_CHARS
        for argument in command.arguments:
            assert len(say(argument.help_id)) <= SUMMARY_CHARS, argument.name


@pytest.mark.parametrize(
    ("count", "form"),
    [(1, "слово:"), (2, "слова:"), (4, "слова:"), (5, "слов:"), (11, "слов:"), (12, "слов:")],
)
def test_russian_plurals(count: int, form: str) -> None:
    assert f"{count} {form}" in Localiser("ru")("receipt-all", used=count, total=count, words="x")


def test_a_right_to_left_word_keeps_its_neighbours_in_place() -> None:
    said = Localiser("en")("word-long", word="سلام", count=50, limit=40)
    assert "“\u2068سلام\u2069” is too long" in said


def test_an_unknown_language_is_answered_in_english() -> None:
    assert Localiser("tlh")("button-help") == "Help"
    with pytest.raises(KeyError):
        Localiser("ru")("no-such-message")


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("ru", "ru"),
        ("zh-Hans-CN", "zh"),
        ("ru_RU.UTF-8", "ru"),
        ("en-GB", "en"),
        ("C.UTF-8", None),
        (None, None),
    ],
)
def test_language_tags(tag: str | None, language: str | None) -> None:
    assert language_of(tag) == language


def test_the_environment_names_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "ru_RU.UTF-8")
    assert language_of_environment() == "ru"
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert language_of_environment() == "zh"
