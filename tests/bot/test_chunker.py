"""Long texts in messages that platforms take: nothing lost, no character cut, highlights in place."""

from __future__ import annotations

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.delivery.chunker import Chunk, Limit, Measure, chunks, code_points, utf16_units
from bot.replies import Mark, Role

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
PIECES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [FAMILY, "🇩🇪🇫🇷🇬🇧", "e\u0301\u0323", "שלום עולם. ", "مرحبا! ", "晚餐。", "Tom ran. ", "\n\n", " ",
         "*bold _nested_* <b>x</b>", "각", "नमस्ते ", "👍🏽", "word ", "…” ", "\r\n"]
    ),
)  # fmt: skip
TEXTS = st.builds(
    lambda pieces, times: ("".join(pieces) * times)[:50_000],
    st.lists(PIECES, max_size=30),
    st.sampled_from([1, 1, 1, 2, 10, 60, 300]),
)
PLATFORMS = st.sampled_from([(Limit.TELEGRAM, utf16_units), (Limit.DISCORD, code_points), (7, utf16_units)])


def graphemes(text: str) -> set[int]:
    """Return where graphemes end."""
    return {found.end() for found in regex.finditer(r"\X", text)}


def check(text: str, marks: list[Mark], limit: int, measure: Measure) -> list[Chunk]:
    pieces = chunks(text, marks, limit, measure)
    assert "".join(piece.text for piece in pieces) == text
    ends = graphemes(text)
    at = 0
    shown: dict[int, str] = {}
    for piece in pieces:
        assert 1 <= measure(piece.text) <= limit
        start, at = at, at + len(piece.text)
        whole = at in ends
        assert whole or not any(start < end < at for end in ends), "a grapheme was split needlessly"
        for mark in piece.marks:
            assert 0 <= mark.start < mark.end <= len(piece.text)
            number = next(i for i, m in enumerate(marks) if m.start <= start + mark.start < m.end)
            shown[number] = shown.get(number, "") + piece.text[mark.start : mark.end]
        for offset, length in piece.utf16_spans():
            encoded = piece.text.encode("utf-16-le", "surrogatepass")
            encoded[2 * offset : 2 * (offset + length)].decode("utf-16-le", "surrogatepass")
            assert offset + length <= utf16_units(piece.text)
    assert shown == {i: text[mark.start : mark.end] for i, mark in enumerate(marks)}
    return pieces


@settings(max_examples=1000, deadline=None)
@given(TEXTS, PLATFORMS, st.lists(st.floats(0, 1), max_size=12))
@example("x" * 50_000, (Limit.TELEGRAM, utf16_units), [0.0, 1.0])
@example(FAMILY * 7000, (Limit.TELEGRAM, utf16_units), [0.1, 0.2])
@example("a" + "\u0301" * 9000, (Limit.DISCORD, code_points), [])
def test_any_text(text: str, platform: tuple[int, Measure], points: list[float]) -> None:
    edges = sorted({int(point * len(text)) for point in points})
    marks = [
        Mark(start, end, None) for start, end in zip(edges[::2], edges[1::2], strict=False) if start < end
    ]
    check(text, marks, *platform)


def test_cuts_fall_at_paragraphs_then_sentences_then_spaces() -> None:
    sentence = "Tom ate his dinner at home. "
    paragraph = (sentence * 8).strip() + "\n\n"
    pieces = check(paragraph * 10, [], 500, code_points)
    assert all(piece.text.endswith("\n\n") for piece in pieces)
    pieces = check(sentence * 40, [], 500, code_points)
    assert all(piece.text.endswith("home. ") for piece in pieces)
    pieces = check("晚餐很好吃。" * 100, [], 100, code_points)
    assert all(piece.text.endswith("。") for piece in pieces)
    pieces = check("word " * 300, [], 100, code_points)
    assert all(piece.text.endswith("word ") for piece in pieces)


def test_a_highlight_over_a_cut_goes_on_in_the_next_message() -> None:
    pieces = check("aaaa bbbb", [Mark(3, 7, Role.TITLE)], 5, code_points)
    assert pieces == [Chunk("aaaa ", (Mark(3, 5, Role.TITLE),)), Chunk("bbbb", (Mark(0, 2, Role.TITLE),))]


def test_telegram_offsets_count_an_emoji_twice() -> None:
    (piece,) = chunks("👍 Tom", [Mark(2, 5, None)], Limit.TELEGRAM, utf16_units)
    assert piece.utf16_spans() == [(3, 3)]


def test_a_short_text_is_one_message_and_an_empty_one_none() -> None:
    assert chunks("Tom", [], Limit.DISCORD, code_points) == [Chunk("Tom")]
    assert chunks("", [], Limit.DISCORD, code_points) == []
    with pytest.raises(ValueError, match="room"):
        chunks("Tom", [], 1, utf16_units)
