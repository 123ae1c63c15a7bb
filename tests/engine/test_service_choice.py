"""Which draft of a story is chosen, and what of it is shown while it is written."""

from __future__ import annotations

import asyncio

import pytest

from engine.schema import (
    DoneEvent,
    ErrorCode,
    ErrorEvent,
    StoryRequest,
    TextEvent,
)
from tests.engine.conftest import Open
from tests.engine.storytelling import CODEC, SHORT, events_of, refusal, story, typist


class TestChoice:
    async def test_the_draft_with_all_words_wins(self, open_service: Open) -> None:
        service = await open_service(typist(" The dog ran home and saw the cat."))
        result = await story(service, words=["dog"], n_candidates=3, opening="They had dinner.")
        assert result.text == "They had dinner. The dog ran home and saw the cat."

    async def test_an_unfinished_sentence_is_cut(self, open_service: Open) -> None:
        service = await open_service(typist(" The dog ran home. Then the cat and"))
        result = await story(service, title="A dog", n_candidates=2)
        assert result.text == "The dog ran home."

    async def test_an_unsuitable_story_is_written_anew(self, open_service: Open) -> None:
        service = await open_service(typist(" x", " They watched porn.", " The dog ran home at night."))
        result = await story(service, title="A dog", n_candidates=2)
        assert result.text == "The dog ran home at night."

    async def test_an_unsuitable_story_is_refused_in_the_end(self, open_service: Open) -> None:
        service = await open_service(typist(" They watched porn."))
        assert (await refusal(service, title="A dog")).code is ErrorCode.UNSUITABLE_STORY


class TestStreaming:
    async def test_sentences_are_shown_as_they_come(self, open_service: Open) -> None:
        # A sentence is ended only when the one before has arrived.
        text = " The dog ran home. It saw a cat. They played."
        gates = {len(CODEC.plain(text[: text.index(rest)])): asyncio.Event() for rest in (" cat.", "ed.")}
        loop = asyncio.get_running_loop()

        def before(length: int) -> None:
            if length in gates:
                asyncio.run_coroutine_threadsafe(gates[length].wait(), loop).result(5)

        service = await open_service(typist(text, before=before))
        deltas, closed = [], iter(gates.values())
        async for event in service.stories(StoryRequest(title="A dog", n_candidates=1, decoding=SHORT)):
            if isinstance(event, TextEvent):
                deltas.append(event.delta)
                next(closed, asyncio.Event()).set()
        assert deltas == ["The dog ran home.", " It saw a cat.", " They played."]
        assert isinstance(event, DoneEvent)
        assert event.result.timing.first_text_ms <= event.result.timing.total_ms

    @pytest.mark.parametrize(
        "bad", [" They watched porn.", " It was late and cold." * 6 + " They saw p. o. r. n. and left."]
    )
    async def test_nothing_unsuitable_is_ever_shown(self, open_service: Open, bad: str) -> None:
        bad = f" The dog ran home.{bad} Then it slept."
        service = await open_service(typist(" x", bad, " It was happy and it slept. Good."))
        events = await events_of(service, title="A dog", n_candidates=1)
        shown = "".join(event.delta for event in events if isinstance(event, TextEvent))
        assert shown.startswith("The dog ran home.")
        assert "porn" not in shown
        assert "p. o." not in shown
        last = events[-1]
        assert isinstance(last, DoneEvent)
        assert last.result.text == shown

    async def test_an_unsuitable_title_shows_nothing(self, open_service: Open) -> None:
        backend = typist(" x", " The dog ran home. It slept.", title=" porn")
        service = await open_service(backend)
        events = await events_of(service, n_candidates=1)
        assert not any(isinstance(event, TextEvent) for event in events)
        assert isinstance(events[-1], ErrorEvent)
        assert events[-1].code is ErrorCode.UNSUITABLE_STORY

    async def test_an_error_comes_when_every_try_is_unsuitable(self, open_service: Open) -> None:
        service = await open_service(typist(" They watched porn. Then it slept. Then it ran."))
        error = await refusal(service, title="A dog", n_candidates=1)
        assert error.code is ErrorCode.UNSUITABLE_STORY
