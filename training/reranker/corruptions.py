"""Ways to spoil a written story: what a scorer learns from, and what a scorecard proves itself on.

Every function is a pure function of its arguments and of `rng`, and returns None for a text too short or too
poor to be spoilt that way. Knows nothing of models or documents.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from engine.lexicon import is_name
from engine.sentences import sentence_ends

KINDS: tuple[str, ...] = (
    "shuffled",
    "foreign_sentence",
    "names",
    "words",
    "no_ending",
    "repeated",
    "spliced",
)
MIN_SENTENCES = 4
WORDS_SHARE = (0.06, 0.2)
NAMES = ("Tom", "Anna", "Kofi", "Mei", "Lucas", "Fatima", "Pavel", "Nina", "Omar", "Julia", "Leo", "Hana")

_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")
_PRONOUNS = {
    "he": "she",
    "she": "he",
    "him": "her",
    "his": "her",
    "her": "his",
    "they": "he",
    "them": "him",
    "their": "his",
    "I": "she",
    "my": "his",
    "we": "they",
}
# Words that hold a sentence together: exchanging them breaks grammar rather than sense.
_CLOSED_WORDS = """
about after again all also and any are because been before but came can could did does down each
even ever every for from get goes got had has have her here him his how into its just like made many
more most much must not now off one only onto other our out over own said same she should some still
such than that the their them then there these they this those through too two under until upon very
was well went were what when where which while who why will with would you your
"""
_CLOSED = frozenset(_CLOSED_WORDS.split())


def split(text: str) -> list[str]:
    """Return the sentences of a text, quotation marks included; what follows the last end is one too."""
    starts = [0, *sentence_ends(text)]
    parts = [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [part for part in parts if part]


def shuffle_sentences(text: str, rng: random.Random) -> str | None:
    """Return the sentences in another order; None below three sentences."""
    parts = split(text)
    if len(set(parts)) < 3:
        return None
    order = parts[:]
    while order == parts:
        rng.shuffle(order)
    return " ".join(order)


def swap_sentence(text: str, other: str, rng: random.Random) -> str | None:
    """Return the text with one sentence, not its first, replaced by one of `other` of like length."""
    parts, foreign = split(text), split(other)[1:]
    if len(parts) < MIN_SENTENCES or not foreign:
        return None
    place = rng.randrange(1, len(parts))
    near = sorted(foreign, key=lambda sentence: abs(len(sentence) - len(parts[place])))[:3]
    taken = rng.choice(near)
    if taken == parts[place]:
        return None
    parts[place] = taken
    return " ".join(parts)


def splice(text: str, other: str, rng: random.Random) -> str | None:
    """Return the first part of `text` joined to the last part of `other`, about as long as `text`."""
    parts, foreign = split(text), split(other)
    if len(parts) < MIN_SENTENCES or len(foreign) < MIN_SENTENCES:
        return None
    cut = rng.randint(len(parts) // 3, len(parts) - 2) or 1
    rest = foreign[-min(len(parts) - cut, len(foreign) - 1) :]
    return " ".join([*parts[:cut], *rest])


def drop_ending(text: str, rng: random.Random) -> str | None:
    """Return the text without its last one or two sentences."""
    parts = split(text)
    if len(parts) < MIN_SENTENCES:
        return None
    return " ".join(parts[: -rng.randint(1, 2 if len(parts) > MIN_SENTENCES else 1)])


def repeat_sentence(text: str, rng: random.Random) -> str | None:
    """Return the text with one of its sentences said again later, in place of another or besides it."""
    parts = split(text)
    if len(parts) < MIN_SENTENCES:
        return None
    place = rng.randrange(len(parts) - 1)
    later = rng.randrange(place + 1, len(parts))
    if rng.random() < 0.5 and parts[later] != parts[place]:
        parts[later] = parts[place]
    else:
        parts.insert(later, parts[place])
    return " ".join(parts)


def swap_names(text: str, rng: random.Random) -> str | None:
    """Return the text with some names and pronouns exchanged, so that who does what no longer holds.

    None when the text has neither a repeated name nor two pronouns.
    """
    found = list(_WORD.finditer(text))
    names = [match for match in found[1:] if is_name(match.group())]
    pronouns = [match for match in found if match.group().lower() in _PRONOUNS or match.group() in _PRONOUNS]
    distinct = sorted({match.group() for match in names})
    changed: dict[int, tuple[int, str]] = {}
    if len(names) >= 2:
        others = distinct if len(distinct) >= 2 else [*distinct, rng.choice(NAMES)]
        for match in rng.sample(names, max(1, len(names) // 2)):
            choices = [name for name in others if name != match.group()]
            changed[match.start()] = (match.end(), rng.choice(choices or list(NAMES)))
    if len(pronouns) >= 2:
        for match in rng.sample(pronouns, max(1, len(pronouns) // 3)):
            changed[match.start()] = (match.end(), _other_pronoun(match.group()))
    return _replaced(text, changed)


def replace_words(text: str, rng: random.Random, vocabulary: Sequence[str]) -> str | None:
    """Return the text with 6-20 % of its words replaced by random words with a like ending.

    Only words of four letters or more that carry meaning are replaced; None when the text has none.
    """
    open_words = [
        match
        for match in _WORD.finditer(text)
        if len(match.group()) >= 4 and match.group().islower() and match.group() not in _CLOSED
    ]
    if not open_words or not vocabulary:
        return None
    total = len(text.split())
    count = max(1, round(rng.uniform(*WORDS_SHARE) * total))
    changed: dict[int, tuple[int, str]] = {}
    for match in rng.sample(open_words, min(count, len(open_words))):
        changed[match.start()] = (match.end(), _like(match.group(), rng, vocabulary))
    return _replaced(text, changed)


def content_vocabulary(texts: Sequence[str]) -> list[str]:
    """Return the words that `replace_words` may put in: open-class words of the texts, sorted."""
    words = {word for text in texts for word in _WORD.findall(text)}
    return sorted(w for w in words if len(w) >= 4 and w.islower() and w not in _CLOSED and w.isalpha())


def corrupt(kind: str, text: str, other: str, rng: random.Random, vocabulary: Sequence[str]) -> str | None:
    """Return `text` spoilt in the way of `kind` (one of KINDS), None when that can't be done to it.

    `other` is another story, of the same genre for the hardest examples. Raises KeyError for another kind.
    """
    ways = {
        "shuffled": lambda: shuffle_sentences(text, rng),
        "foreign_sentence": lambda: swap_sentence(text, other, rng),
        "names": lambda: swap_names(text, rng),
        "words": lambda: replace_words(text, rng, vocabulary),
        "no_ending": lambda: drop_ending(text, rng),
        "repeated": lambda: repeat_sentence(text, rng),
        "spliced": lambda: splice(text, other, rng),
    }
    spoilt = ways[kind]()
    return spoilt if spoilt and spoilt != text else None


def _other_pronoun(word: str) -> str:
    if word in _PRONOUNS:
        return _PRONOUNS[word]
    other = _PRONOUNS[word.lower()]
    return other[0].upper() + other[1:]


def _like(word: str, rng: random.Random, vocabulary: Sequence[str]) -> str:
    """Return a random word that ends like `word`, so that grammar mostly survives."""
    found = word
    for _ in range(200):
        found = rng.choice(vocabulary)
        same_ending = all(found.endswith(end) == word.endswith(end) for end in ("ed", "ing", "ly", "s"))
        if found != word and same_ending:
            break
    return found


def _replaced(text: str, changed: dict[int, tuple[int, str]]) -> str | None:
    if not changed:
        return None
    out, at = [], 0
    for start in sorted(changed):
        end, word = changed[start]
        out += [text[at:start], word]
        at = end
    return "".join([*out, text[at:]])
