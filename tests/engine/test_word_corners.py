"""Words kept by the guide alone, over a model that knows nothing: its logits are noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from engine.constraints import WordForms
from engine.decoding import RowMemory, sample
from engine.guiding import GIVE_UP, StoryGuide, StoryPlan
from engine.jobs import RowPlan, RowSettings
from engine.lexicon import used_words
from engine.prompts import Codec
from engine.vocabulary import Vocabulary
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())
EOS = CODEC.control("<eos>")
STOP = CODEC.plain(".")[0]
SETTINGS = RowSettings(temperature=1.0, top_p=0.95, min_p=0.02)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("model")
    tiny_model.tokenizer().save(str(folder / "tokenizer.json"))
    return Vocabulary.from_directory(folder)


def told(
    vocabulary: Vocabulary,
    words: Sequence[str],
    *,
    seed: int = 0,
    tokens: int = 140,
    opening: str = "",
    encode: Callable[[str], Sequence[int]] = CODEC.plain,
) -> tuple[str, list[int]]:
    """Return the text after `opening`, and its tokens; every twelfth word of the noise ends a sentence."""
    banned = CODEC.control_ids() - {EOS}
    plan = StoryPlan(vocabulary, WordForms(words, encode), frozenset({EOS}), banned, None, tokens, opening)
    guide = StoryGuide(plan)
    row = RowMemory(RowPlan(SETTINGS, seed, 0), tokens)
    noise = np.random.default_rng(seed)
    ids: list[int] = []
    while len(ids) < tokens:
        logits = noise.normal(0, 1.5, (1, CODEC.size)).astype(np.float32)
        logits[0, EOS] = 3.0
        logits[0, STOP] = 9.0 if len(ids) % 12 == 11 else 0.0
        ids.append(int(sample(logits, [row], [guide.bias()]).tokens[0]))
        row.push(ids[-1])
        if ids[-1] == EOS or guide.observe(ids[-1]):
            break
    return vocabulary.text(ids), ids


TWELVE = (
    *("Tom", "dinner", "umbrella", "river", "letter", "station", "garden", "late", "brave"),
    *("quickly", "look after", "ice cream"),
)


@pytest.mark.parametrize(
    "words",
    [
        TWELVE,
        ("look forward to seeing you",),
        ("once in a blue moon", "moon"),
        ("run", "ran", "running"),
        ("leaf", "leave", "left"),
        ("child", "children"),
        ("cat", "cats", "catch"),
        ("well-known", "well known"),
        ("o'clock", "e-mail"),
        ("U.S.A.",),
        ("3.14",),
        ("C++", "café"),
    ],
    ids=" ".join,
)
def test_words_that_are_hard_to_keep_are_kept(vocabulary: Vocabulary, words: tuple[str, ...]) -> None:
    missed = [used_words(words, told(vocabulary, words, seed=seed)[0])[1] for seed in range(4)]
    assert sum(map(len, missed)) <= len(words) // 6, missed


def test_words_of_the_opening_need_not_come_again(vocabulary: Vocabulary) -> None:
    text, ids = told(vocabulary, ["dog"], opening="The dogs barked.", tokens=60)
    assert ids[-1] == EOS or text.rstrip().endswith(".")
    assert len(ids) < 60


def test_a_word_that_cannot_be_spelled_does_not_keep_a_story_from_ending(vocabulary: Vocabulary) -> None:
    text, ids = told(vocabulary, ["sea"], encode=lambda form: [], tokens=112)
    assert GIVE_UP * 112 < 108
    assert len(ids) == 108, "the first sentence end after giving up"
    assert text.endswith(".")
    assert EOS not in ids


def test_without_words_nothing_holds_the_end_back(vocabulary: Vocabulary) -> None:
    assert any(told(vocabulary, [], seed=seed)[1][-1] == EOS for seed in range(4))
