"""/settings: every setting with its explanation, range and value; changed one by one or by a preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rapidfuzz import process

from bot import values
from bot.context import Context
from bot.lexing import clean, scan
from bot.localisation import LANGUAGES, NAMES, Localiser, language_of
from bot.messages import Problem, echo, problem
from bot.preferences import NAMES as SETTINGS
from bot.preferences import STEPS, Preferences, Value, change, read_value, reset
from bot.replies import Button, Panel, Reply, Role, Segment, Setting
from engine.schema import MAX_SEED, PRESETS, Genre, Length, Level, decoding_ranges

LANGUAGE = "language"
RESET = "reset"
_ALL = (*SETTINGS, LANGUAGE, RESET)
_CHOICES: dict[str, tuple[str, ...]] = {
    "preset": tuple(PRESETS),
    "level": tuple(Level),
    "length": tuple(Length),
    "genre": tuple(Genre),
    LANGUAGE: LANGUAGES,
}
_LANGUAGE_NAMES = {
    "english": "en",
    "английский": "en",
    "英语": "en",
    "英文": "en",
    "russian": "ru",
    "русский": "ru",
    "俄语": "ru",
    "chinese": "zh",
    "китайский": "zh",
    "中文": "zh",
    "汉语": "zh",
}


@dataclass(frozen=True, slots=True)
class SettingsArguments:
    """`show`: one setting to explain (None = all); `values`: what to set, None = back to the default."""

    show: str | None = None
    values: Mapping[str, Value | None] | None = None
    reset: bool = False


def parse_settings(text: str, options: Mapping[str, str] | None = None) -> SettingsArguments | Problem:
    """Read what stands behind /settings: nothing, NAME, NAME VALUE, NAME=VALUE …, reset."""
    given = {key: clean(value) for key, value in (options or {}).items()}
    if "name" in given:
        text = f"{given['name']} {given.get('value', '')}"
    text = clean(text)
    found = scan(text) if "=" in text or "＝" in text else None
    if isinstance(found, Problem):
        return found
    if found is not None and found.options and not found.items:
        return _several(found.options)
    name, _, value = " ".join(text.split()).partition(" ")
    if not name:
        return SettingsArguments()
    known = values.option_name(name)
    if known not in _ALL:
        return _unknown(name)
    if known == RESET:
        return SettingsArguments(reset=True)
    return _several({known: value}) if value else SettingsArguments(show=known)


async def settings(context: Context, arguments: SettingsArguments) -> Reply:
    """Show or change settings; they are kept for the person, on every platform."""
    say = context.say
    if arguments.reset:
        await context.store.settings.update(context.person.id, reset())
        return _with_panel(Preferences(), say, say("settings-were-reset"))
    if arguments.values:
        return await _change(context, arguments.values)
    if arguments.show is not None:
        row = _row(arguments.show, context.preferences, say)
        return Reply(panel=Panel((row,)), personal=True)
    return _with_panel(
        context.preferences, say, say("settings-title"), Segment(say("settings-hint"), Role.NOTE)
    )


async def _change(context: Context, new: Mapping[str, Value | None]) -> Reply:
    if isinstance(new.get("model"), str):
        unknown = await _model_problem(context, str(new["model"]))
        if unknown is not None:
            return Reply.problem(context.say.message(unknown))
    kept: dict[str, Value | None] = {}
    for name, value in new.items():
        if name != LANGUAGE:
            kept = change(name, value) | kept
    kept |= {name: value for name, value in new.items() if name != LANGUAGE}
    say = context.say
    if LANGUAGE in new:
        language = new[LANGUAGE]
        await context.store.people.set_locale(context.person.id, str(language) if language else None)
        say = Localiser(str(language or language_of(context.caller.locale)))
    stored = await context.store.settings.update(context.person.id, kept) if kept else None
    preferences = Preferences.load(stored) if stored is not None else context.preferences
    lines = [_changed_line(say, name, value, preferences) for name, value in new.items()]
    rows = tuple(_row(name, preferences, say) for name in new)
    return Reply(tuple(Segment(line, Role.ITEM) for line in lines), panel=Panel(rows), personal=True)


def _changed_line(say: Localiser, name: str, value: Value | None, preferences: Preferences) -> str:
    if name == LANGUAGE:
        return say("settings-language", name=NAMES[say.language])
    if value is None:
        return say("settings-default", name=name)
    if name == "preset":
        covered = PRESETS[str(value)].model_dump(exclude_none=True)
        listed = ", ".join(f"{key} {values.number_text(number)}" for key, number in covered.items())
        return say("settings-preset", name=str(value), values=listed)
    return say("settings-changed", name=name, value=_text(preferences.get(name)))


async def _model_problem(context: Context, name: str) -> Problem | None:
    names = [model.name for model in await context.storyteller.models()]
    if name in names:
        return None
    return problem("model-not-there", model=echo(name), models=", ".join(names))


def _several(typed: Mapping[str, str]) -> SettingsArguments | Problem:
    read: dict[str, Value | None] = {}
    for key, text in typed.items():
        name = values.option_name(key)
        if name not in (*SETTINGS, LANGUAGE):
            return _unknown(key)
        value = None if values.is_off(text) else _read(name, text)
        if isinstance(value, Problem):
            return value
        read[name] = value
    return SettingsArguments(values=read)


def _read(name: str, text: str) -> Value | Problem:
    if name != LANGUAGE:
        return read_value(name, text)
    typed = text.casefold().strip()
    code = _LANGUAGE_NAMES.get(typed, typed.split("-")[0])
    if code in LANGUAGES:
        return code
    spoken = ", ".join(f"{code} ({NAMES[code]})" for code in LANGUAGES)
    return problem("bad-language", value=echo(text), allowed=spoken)


def _unknown(name: str) -> Problem:
    near = process.extractOne(name.casefold(), _ALL, score_cutoff=60)
    listed = ", ".join(_ALL)
    if near is None:
        return problem("unknown-setting", name=echo(name), settings=listed)
    return problem("unknown-setting-near", name=echo(name), nearest=near[0], settings=listed)


def _with_panel(preferences: Preferences, say: Localiser, *lines: str | Segment) -> Reply:
    segments = tuple(line if isinstance(line, Segment) else Segment(line) for line in lines)
    rows = tuple(_row(name, preferences, say) for name in (*SETTINGS, LANGUAGE))
    return Reply(segments, panel=Panel(rows), personal=True)


def _row(name: str, preferences: Preferences, say: Localiser) -> Setting:
    value = NAMES[say.language] if name == LANGUAGE else preferences.get(name)
    effective = preferences.effective_decoding()
    number = getattr(effective, name) if name in values.DECODING else None
    shown = _text(value if value is not None else number) or say("value-default")
    lowest, highest = decoding_ranges().get(name, (None, None))
    return Setting(
        name=name,
        value=shown,
        explanation=say("setting-" + name.replace("_", "-")),
        is_default=value is None,
        allowed=_allowed(name, say),
        number=number,
        lowest=lowest,
        highest=highest,
        step=STEPS.get(name),
        choices=tuple(
            Button(NAMES.get(choice, choice), "settings", f"{name} {choice}")
            for choice in _CHOICES.get(name, ())
        ),
    )


def _allowed(name: str, say: Localiser) -> str:
    if name in values.DECODING:
        return "–".join(values.range_text(name))
    if name == "seed":
        return f"0–{MAX_SEED}"
    if name == "model":
        return say("allowed-model")
    return ", ".join(_CHOICES[name])


def _text(value: Value | None) -> str:
    if value is None:
        return ""
    return values.number_text(value) if isinstance(value, float) else str(value)
