"""Parts of the openai backend alone: prompts as text, forms made whole, answers taken to pieces."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backends.openai_prompts import TextForm
from engine.backends.openai_pushes import WordPushes, completed
from engine.backends.openai_wire import Choice, Garbage, add_chunk
from engine.errors import InvalidRequest
from engine.lexicon import match
from engine.prompts import Codec
from tests import tiny_model

NAMES = (
    "choices",
    "index",
    "text",
    "finish_reason",
    "token_ids",
    "logprobs",
    "token_logprobs",
    "content",
    "id",
)
CONTROLS = ("<eos>", "<story>", "<level:A1>")
FORM, CODEC = TextForm(tiny_model.tokenizer()), Codec(tiny_model.tokenizer())


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40), st.sampled_from(["", "<pad", "eos>", *CONTROLS]))
def test_a_prompt_as_text_reads_as_the_same_ids_or_is_refused(typed: str, added: str) -> None:
    ids = [CODEC.control("<bos>"), *CODEC.plain(f" {typed}{added}"), CODEC.control("<story>")]
    if any(token in typed + added for token in CONTROLS):
        with pytest.raises(InvalidRequest):
            FORM.of(ids)
    else:
        assert FORM.ids(FORM.of(ids)) == ids


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["telescope", "bakery", "to jump"]), min_size=1, unique=True), st.data())
def test_a_form_begun_late_is_whole(words: list[str], data: st.DataObject) -> None:
    push = WordPushes(CODEC.plain).at(0.9, words)
    first = data.draw(st.sampled_from(sorted({ids[0] for ids in push if len(ids) > 1})))
    others = data.draw(st.lists(st.integers(40, CODEC.size - 1), max_size=6))
    tokens = completed([*others, first, *others], push)
    assert match(words, CODEC.decode([*CODEC.plain("."), *tokens, *CODEC.plain(" .")]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries({"choices": st.lists(JSON | st.dictionaries(st.sampled_from(NAMES), JSON))}) | JSON
)
def test_any_piece_of_an_answer_is_taken_or_called_garbage(data: Any) -> None:
    choices: dict[int, Choice] = {}
    try:
        add_chunk(choices, data, 2)
    except Garbage:
        return
    assert set(choices) <= {0, 1}
    assert all(math.isfinite(sum(choice.logprobs or ())) for choice in choices.values())
