"""The storyteller's prompt format: what is asked comes back, typed control tokens stay text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.prompts import Codec, Storyteller
from engine.prompts.storyteller import EOS, SOURCE_CHARS, STORY, TITLE, WORDS, tail
from engine.schema import Genre, Kind, Level, StoryRequest
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())
FAMILY = Storyteller()
text = st.text(min_size=1, max_size=60).filter(lambda t: bool(t.strip()))


def control(ids: list[int]) -> list[int]:
    return [i for i in ids if i in CODEC.control_ids()]


@given(words=st.lists(text.map(lambda t: t[:40]), max_size=4), title=text, opening=text)
def test_whatever_people_type_adds_no_control_token(words: list[str], title: str, opening: str) -> None:
    plain = StoryRequest(words=["a"] * bool(words), title="b", opening="c")
    try:
        typed = StoryRequest(words=words, title=title, opening=opening)
    except ValueError:
        return
    assert control(FAMILY.encode(CODEC, typed)) == control(FAMILY.encode(CODEC, plain))


def test_typed_control_tokens_are_characters() -> None:
    ids = FAMILY.encode(CODEC, StoryRequest(title=f"{EOS} {STORY}", opening=f"{TITLE} he said"))
    assert CODEC.control(EOS) not in ids
    assert ids.count(CODEC.control(STORY)) == 1
    assert "<eos> <story>" in CODEC.decode(ids)


def test_the_model_writes_a_title_when_none_is_given() -> None:
    request = StoryRequest(genre=Genre.SCI_FI, words=["Tom", "dinner"], level=Level.A2)
    prompt = FAMILY.encode(CODEC, request)
    assert prompt[-1] == CODEC.control(TITLE)
    assert prompt[-1] != FAMILY.text_token(CODEC, request) == CODEC.control(STORY)
    written = [
        *CODEC.plain(" The Key"),
        CODEC.control(STORY),
        *CODEC.plain(" Tom ate."),
        CODEC.control(EOS),
        9,
    ]
    story = FAMILY.parse(written, CODEC, request)
    assert (story.title, story.text, story.finished) == ("The Key", "Tom ate.", True)


def test_a_title_given_is_kept_and_the_opening_stands_verbatim() -> None:
    request = StoryRequest(title="Friday evening", opening="The lift stopped.")
    prompt = FAMILY.encode(CODEC, request)
    assert CODEC.decode(prompt).endswith("Friday evening The lift stopped.")
    story = FAMILY.parse(CODEC.plain(" Nobody spoke."), CODEC, request)
    assert (story.title, story.text) == ("Friday evening", "The lift stopped. Nobody spoke.")
    assert not story.finished


@pytest.mark.parametrize("kind", [Kind.CONTINUE, Kind.SIMPLER, Kind.HARDER])
def test_a_parent_is_given_as_source_and_cut_at_a_sentence(kind: Kind) -> None:
    parent = "A very long sentence that stands first in the text. " * 60
    ids = FAMILY.encode(CODEC, StoryRequest(kind=kind, parent=parent))
    assert CODEC.control(WORDS) not in ids
    cut = tail(parent.strip())
    assert len(cut) <= SOURCE_CHARS
    assert cut.startswith("A very long")


def test_plain_text_starts_as_every_text_did_in_training() -> None:
    """A bare space, as seed B's first step asks for, once gave nothing but spaces."""
    start = FAMILY.encode_plain(CODEC, " ")
    assert control(start) == start
    assert FAMILY.encode_plain(CODEC, "") == start
    assert FAMILY.encode_plain(CODEC, "One day ") == [*start, *CODEC.plain(" One day")]


def test_letters_that_the_model_knows() -> None:
    fine = ["Tom", "look after", "José", "3D", "rock’n’roll", "well-known", "Mr. Smith"]
    assert FAMILY.unwritable(fine) == []
    foreign = ["你好", "мама", "שלום", "🎉", "<eos>", "-", "Toм"]
    assert FAMILY.unwritable(foreign) == foreign
