"""Reads what stands behind /story and its relatives: any text gives arguments or a Problem, never an error.

    /story [genre] [word, word, …] ["opening line"] [title=…] [level=A2] [length=short] [model=…]

Rules where people differ:
- Words are cut at commas of any script and at line breaks. Without any comma each word stands alone
  ("Tom dinner" → Tom, dinner), so a phrase needs a comma somewhere: "look after," or "look after, dinner".
  ice_cream is the phrase "ice cream".
- The genre comes first. To use its name as a word, start with a comma: ", drama, Tom".
- A word first in line that was meant for a genre we do not know is a Problem with the nearest; a word that
  may be one of the learner's never is (see bot.genres).

Knows no platform: typed options of a platform and key=value in a text are the same thing here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot import genres, values
from bot.lexing import Scan, clean, scan
from bot.messages import Message, Problem, echo, problem
from engine.schema import MAX_WORD_CHARS, MAX_WORDS, Decoding, Genre, Length, Level

MAX_MESSAGE_CHARS = 2000
"""Characters behind a command: room for every part at its own limit."""

_ENDS = " .!?…。！？:：\"'’‘“”«»„¿¡"
_PHRASE = re.compile(r"[^\W\d_]+(?:_[^\W\d_]+)+")


@dataclass(frozen=True, slots=True)
class StoryArguments:
    """What a learner asked for; None and () mean: not said. `notes` are hints to show with the answer."""

    words: tuple[str, ...] = ()
    genre: Genre | None = None
    opening: str | None = None
    title: str | None = None
    level: Level | None = None
    length: Length | None = None
    model: str | None = None
    seed: int | None = None
    preset: str | None = None
    decoding: Decoding = field(default_factory=Decoding)
    story: str | None = None
    notes: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """What one command takes: options by name; a genre in front; words, or one phrase; a quoted opening."""

    options: tuple[str, ...]
    genre: bool = False
    words: bool = True
    phrase: bool = False


_STEERING = ("level", "length", "model", "seed", "preset", *values.DECODING)
STORY = Form(("genre", "opening", "title", *_STEERING), genre=True)
CONTINUE = Form(("story", "opening", *_STEERING))
JOKE = Form(("opening", *_STEERING))
SENTENCE = Form(_STEERING, phrase=True)
AGAIN = Form(("story", "genre", *_STEERING), words=False)


def parse_story(text: str, options: Mapping[str, str] | None = None) -> StoryArguments | Problem:
    """Read /story. `options` are values that a platform or a command line gave by name, as text."""
    return parse(STORY, text, options)


def parse_continue(text: str, options: Mapping[str, str] | None = None) -> StoryArguments | Problem:
    """Read /continue: words, an opening and options."""
    return parse(CONTINUE, text, options)


def parse_joke(text: str, options: Mapping[str, str] | None = None) -> StoryArguments | Problem:
    """Read /joke: words, an opening and options."""
    return parse(JOKE, text, options)


def parse_sentence(text: str, options: Mapping[str, str] | None = None) -> StoryArguments | Problem:
    """Read /sentence: without a comma the whole text is one word or phrase ("look after")."""
    parsed = parse(SENTENCE, text, options)
    if not isinstance(parsed, Problem) and not parsed.words:
        return problem("sentence-empty")
    return parsed


def parse_again(text: str, options: Mapping[str, str] | None = None) -> StoryArguments | Problem:
    """Read /again: options only, since the words stay."""
    return parse(AGAIN, text, options)


def parse(form: Form, text: str, options: Mapping[str, str] | None = None) -> StoryArguments | Problem:
    """Read the text behind a command of this form, together with options given by name."""
    given = {key: clean(value) for key, value in (options or {}).items()}
    words = given.pop("words", "")
    with_genre = form.genre and not words
    text = ", ".join(filter(None, (clean(text), words)))
    if len(text) > MAX_MESSAGE_CHARS:
        return problem("message-long", count=len(text), limit=MAX_MESSAGE_CHARS)
    found = scan(text)
    if isinstance(found, Problem):
        return found
    arguments = _options(found.options | given, form.options)
    if form.phrase:
        found.items += [[quoted] for quoted in found.quoted]
    elif not isinstance(arguments, Problem):
        arguments = _with_opening(arguments, found.quoted)
    if with_genre and found.leads and not isinstance(arguments, Problem):
        arguments = _with_genre(arguments, found)
    if isinstance(arguments, Problem):
        return arguments
    taken = _words(found, form.phrase)
    if isinstance(taken, Problem):
        return taken
    if not form.words and (taken or arguments.opening):
        return problem("no-words-here", text=echo(text))
    return replace(arguments, words=taken)


def _with_opening(arguments: StoryArguments, quoted: list[str]) -> StoryArguments | Problem:
    if not quoted:
        return arguments
    if len(quoted) > 1 or arguments.opening is not None:
        return problem("two-openings", text=echo(quoted[-1]))
    opening = values.opening(quoted[0])
    return opening if isinstance(opening, Problem) else replace(arguments, opening=opening)


def _with_genre(arguments: StoryArguments, found: Scan) -> StoryArguments | Problem:
    """Take the genre off the front of the words, if one stands there."""
    if not found.items or arguments.genre is not None:
        return arguments
    first = found.items[0]
    if known := genres.leading(first):
        genre, count = known
        found.items[0] = first[count:]
        return replace(arguments, genre=genre)
    token = first[0]
    if meant := genres.misspelt(token):
        return values.unknown_genre(token, meant)
    if near := genres.absent(token):
        if len(first) > 1:
            return values.unknown_genre(token, near)
        note = Message("genre-as-word", {"genre": echo(token), "nearest": near.value})
        return replace(arguments, notes=(note,))
    return arguments


def _words(found: Scan, phrase: bool) -> tuple[str, ...] | Problem:
    together = found.commas or phrase
    items = [" ".join(item) for item in found.items]
    if not together:
        items = [token for item in found.items for token in item]
    words: dict[str, str] = {}
    for item in items:
        word = _word(item)
        if not word:
            continue
        if not any(unicodedata.category(character)[0] in "LNS" for character in word):
            return problem("not-a-word", word=echo(word))
        if len(word) > MAX_WORD_CHARS:
            id_ = "word-long" if found.commas else "word-long-no-commas"
            return problem(id_, word=echo(word), count=len(word), limit=MAX_WORD_CHARS)
        words.setdefault(word.casefold(), word)
    if len(words) > MAX_WORDS:
        return problem("too-many-words", count=len(words), limit=MAX_WORDS)
    return tuple(words.values())


def _word(item: str) -> str:
    """Return an item without the punctuation around it, as long as a letter or digit is left."""
    item = " ".join(item.split())
    if _PHRASE.fullmatch(item):
        item = item.replace("_", " ")
    bare = item.strip(_ENDS)
    return bare if any(character.isalnum() for character in bare) else item


_READERS: dict[str, Callable[[str], Any]] = {
    "genre": values.genre,
    "opening": values.opening,
    "title": values.title,
    "level": values.level,
    "length": values.length,
    "model": values.model,
    "seed": values.seed,
    "preset": values.preset,
    "story": str.strip,
}


def _options(typed: Mapping[str, str], allowed: tuple[str, ...]) -> StoryArguments | Problem:
    taken: dict[str, Any] = {}
    decoding: dict[str, float | int] = {}
    for key, text in typed.items():
        name = values.option_name(key)
        if name not in allowed:
            return _unknown_option(key, name, allowed)
        value = values.decoding(name, text) if name in values.DECODING else _READERS[name](text)
        if isinstance(value, Problem):
            return value
        (decoding if name in values.DECODING else taken)[name] = value
    return StoryArguments(decoding=Decoding.model_validate(decoding), **taken)


def _unknown_option(key: str, name: str, allowed: tuple[str, ...]) -> Problem:
    near = values.closest(name, allowed)
    listed = ", ".join(allowed)
    if near is None:
        return problem("unknown-option", option=echo(key), options=listed)
    return problem("unknown-option-near", option=echo(key), nearest=near, options=listed)


def words_of(line: str) -> tuple[str, ...]:
    """Return the words that /story would take from a plain line, none when it would take it otherwise."""
    parsed = parse_joke(line)
    return () if isinstance(parsed, Problem) else parsed.words
