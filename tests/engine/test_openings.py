"""An opening stands at the start of its story to the letter, however oddly it ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.jobs import RowResult
from engine.prompts import Codec, family_for
from engine.schema import StoryRequest
from engine.scoring import Draft, draft_of
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())
ODD = (
    "The old fisherm",
    'He said, "',
    '"Don’t look back," said Zoë – and then',
    "Глава 1. Ночь",
    "It cost 3.",
    "Two  spaces\nand a line",
    "🐉 came to town,",
    "A broken \ufffd sign",
    "e\u0301tude",
)


def draft(opening: str, ids: list[int], family: str = "storyteller") -> Draft:
    request = StoryRequest(opening=opening, words=["sea"])
    return draft_of(RowResult(0, ids), ids, request, family_for(family), CODEC)


@pytest.mark.parametrize("family", ["storyteller", "plain"])
@pytest.mark.parametrize("opening", ODD)
def test_an_odd_opening_is_kept(opening: str, family: str) -> None:
    for text in (" saw the sea. Then it", "", ".", " and", '" he said. He ran.'):
        assert draft(opening, CODEC.plain(text), family).text.startswith(opening)


@settings(max_examples=100, deadline=None)
@given(
    st.text(min_size=1, max_size=30).filter(str.strip),
    st.lists(st.integers(0, CODEC.size - 1), max_size=30),
)
def test_any_opening_is_kept_whatever_follows(opening: str, ids: list[int]) -> None:
    assert draft(opening, ids).text.startswith(opening.strip())


@pytest.mark.parametrize(
    ("opening", "generated", "text"),
    [
        ("The old fisherm", "an saw the sea.", "The old fisherman saw the sea."),
        ("The old fish", " saw the sea.", "The old fish saw the sea."),
        ('He said, "', 'Go home."', 'He said, "Go home."'),
        ("They ran.", "Then it rained.", "They ran. Then it rained."),
        ("They ran", ". Then it rained.", "They ran. Then it rained."),
        ("They ran (fast) -", " then it rained.", "They ran (fast) - then it rained."),
    ],
)
def test_what_follows_joins_as_the_model_meant_it(opening: str, generated: str, text: str) -> None:
    assert draft(opening, CODEC.plain(generated)).text == text
