"""The story service over tiny and scripted models: answers, choice, streaming, limits, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import engine.lane
from engine.config import EngineSettings
from engine.errors import EngineError
from engine.loading import LoadedModel, load
from engine.prompts import Codec, Storyteller
from engine.registry import ModelCard
from engine.schema import (
    Decoding,
    DoneEvent,
    ErrorCode,
    ErrorEvent,
    LexiconRequest,
    PlainRequest,
    QueuedEvent,
    StoryEvent,
    StoryRequest,
    StoryResult,
    TextEvent,
)
from engine.sentences import ends_properly
from engine.service import StoryService
from engine.telling import SEEDED_ROWS
from engine.testing import ScriptedBackend
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    tiny_model.build(folder / "second", version="tiny-2", seed=5)
    tiny_model.build_gpt2(folder / "tiny-gpt2")
    tiny_model.build_t5(folder / "tiny-t5")
    return folder


@cache
def _load(card: ModelCard) -> LoadedModel:
    return load(card, device="cpu", threads=1)


Open = Callable[..., Any]


@pytest.fixture
async def open_service(models: Path) -> AsyncIterator[Open]:
    """Return a function that starts a service; `steps` puts a scripted backend into the default model."""
    opened: list[StoryService] = []

    async def open_one(steps: ScriptedBackend | None = None, **given: Any) -> StoryService:
        def loader(card: ModelCard) -> LoadedModel:
            model = _load(card)
            return replace(model, steps=steps) if steps and card.name == "storyteller" else model

        service = StoryService(EngineSettings(models_dir=models, threads=1, **given), loader=loader)
        opened.append(service)
        await service.start()
        return service

    yield open_one
    for service in opened:
        await service.aclose(0)


@pytest.fixture
async def service(open_service: Open) -> StoryService:
    started: StoryService = await open_service()
    return started


SHORT = Decoding(max_new_tokens=40)


async def events_of(service: StoryService, **request: Any) -> list[StoryEvent]:
    request.setdefault("decoding", SHORT)
    return [event async for event in service.stories(StoryRequest(**request))]


async def story(service: StoryService, **request: Any) -> StoryResult:
    """Return the finished story; the deltas shown must be its text."""
    events = await events_of(service, **request)
    last = events[-1]
    assert isinstance(last, DoneEvent), last
    assert "".join(event.delta for event in events if isinstance(event, TextEvent)) == last.result.text
    return last.result


async def refusal(service: StoryService, **request: Any) -> ErrorEvent:
    events = await events_of(service, **request)
    assert isinstance(events[-1], ErrorEvent), events
    assert not any(isinstance(event, DoneEvent) for event in events)
    return events[-1]


def typist(
    *texts: str, title: str = " Home", before: Callable[[int], object] = lambda length: None
) -> ScriptedBackend:
    """Return a backend that writes the texts, one a prompt in turn, the last one again and again.

    `before` is called with the number of tokens written.
    """
    opens, end = CODEC.control("<story>"), CODEC.control("<eos>")
    scripts = [[*CODEC.plain(text), end] for text in texts]
    titled = [*CODEC.plain(title), opens]
    seen = [-1]

    def script(prompt: Sequence[int], written: Sequence[int]) -> int:
        before(len(written))
        if not written:
            seen[0] = min(seen[0] + 1, len(scripts) - 1)
        text = list(written)
        if opens not in prompt:
            if opens not in text:
                return titled[min(len(text), len(titled) - 1)]
            text = text[text.index(opens) + 1 :]
        return scripts[seen[0]][min(len(text), len(scripts[seen[0]]) - 1)]

    return ScriptedBackend(script, vocab_size=CODEC.size)


class TestAnswers:
    async def test_a_story_comes_with_its_receipt(self, service: StoryService) -> None:
        result = await story(
            service, words=["dog", "Tom"], genre="sci_fi", level="A2", seed=4, request_id="r1", title="Home"
        )
        assert (result.title, result.kind, result.genre, result.level) == ("Home", "story", "sci_fi", "A2")
        assert (result.words, result.words_missed) == (["dog", "Tom"], [])
        assert {span.word for span in result.spans} == {"dog", "Tom"}
        assert all(result.text[span.start : span.end] == span.form for span in result.spans)
        assert (result.model, result.model_version) == ("storyteller", "tiny-1")
        assert (result.seed, result.n) == (4, SEEDED_ROWS)
        assert (result.request_id, result.candidates) == ("r1", None)
        assert result.decoding.temperature == Storyteller.decoding.temperature
        assert result.decoding.max_new_tokens == 40
        assert result.timing.tokens > 8
        assert result.timing.total_ms >= result.timing.first_text_ms >= result.timing.queued_ms >= 0
        assert ends_properly(result.text)

    async def test_a_title_is_written_when_none_is_given(self, service: StoryService) -> None:
        assert (await story(service, seed=1)).title

    async def test_an_opening_stands_at_the_start_verbatim(self, service: StoryService) -> None:
        result = await story(service, opening="Anna saw a dog.", words=["dog", "sea"], n_candidates=2)
        assert result.text.startswith("Anna saw a dog.")
        assert len(result.text) > len("Anna saw a dog.")
        assert result.words_missed == []

    async def test_candidates_are_shown_when_asked(self, service: StoryService) -> None:
        result = await story(service, words=["dog"], n_candidates=3, return_candidates=True)
        assert result.candidates is not None
        assert len(result.candidates) == 2
        assert result.text not in [candidate.text for candidate in result.candidates]
        scores = [candidate.score for candidate in result.candidates]
        assert scores == sorted(scores, reverse=True)

    @pytest.mark.parametrize("kind", ["sentence", "joke", "continue", "simpler", "harder"])
    async def test_every_kind(self, service: StoryService, kind: str) -> None:
        parent = "Tom went home. He had dinner." if kind in ("continue", "simpler", "harder") else None
        result = await story(service, kind=kind, parent=parent, words=["dog"], n_candidates=2)
        assert result.kind == kind
        assert result.text

    async def test_word_keeping_over_many_requests(self, service: StoryService) -> None:
        asked = [["dog", "umbrella"], ["look after", "child"], ["Zogg"], ["run", "sea", "happy", "Zoë"]]
        results = await asyncio.gather(*(story(service, words=words, n_candidates=4) for words in asked))
        assert [result.words_missed for result in results] == [[], [], [], []]

    async def test_control_tokens_typed_by_a_learner_are_text(self, service: StoryService) -> None:
        result = await story(service, words=["wrote"], opening="He wrote <eos> on <story> it.", seed=2)
        assert result.text.startswith("He wrote <eos> on <story> it.")
        assert result.words_missed == []

    async def test_plain_generation(self, service: StoryService) -> None:
        result = await service.generate(PlainRequest(prompt="Tom went", length=12, seed=3))
        again = await service.generate(PlainRequest(prompt="Tom went", length=12, seed=3))
        assert result == again
        assert result.text.startswith("Tom went")
        assert (result.tokens, result.seed, result.model_version) == (12, 3, "tiny-1")
        assert (await service.generate(PlainRequest(length=4))).tokens == 4

    async def test_lexicon_models_and_gauges(self, service: StoryService) -> None:
        entries = service.lexicon(LexiconRequest(words=["ran", "Tom"])).entries
        assert [entry.lemma for entry in entries] == ["run", "Tom"]
        active = {info.name: (info.active, info.loaded) for info in service.models()}
        assert active["storyteller"] == (True, True)
        assert active["second"] == (False, False)
        assert service.gauges()["queue_depth"] == 0


class TestSeeds:
    async def test_the_same_seed_gives_the_same_story_alone_and_among_others(
        self, service: StoryService
    ) -> None:
        asked: dict[str, Any] = {"words": ["dog", "dinner"], "seed": 11}
        alone = await story(service, **asked)
        others = [story(service, words=["sea"], n_candidates=1 + i % 4) for i in range(9)]
        crowd = await asyncio.gather(story(service, **asked), *others)
        assert (crowd[0].text, crowd[0].title, crowd[0].n) == (alone.text, alone.title, SEEDED_ROWS)

    async def test_an_answer_can_be_had_again_by_its_seed_and_n(self, service: StoryService) -> None:
        for words in (["dog"], []):
            first = await story(service, words=words)
            again = await story(service, words=words, seed=first.seed, n_candidates=first.n)
            assert again.text == first.text

    async def test_other_seeds_and_models_give_other_stories(self, service: StoryService) -> None:
        stories = [await story(service, seed=seed, n_candidates=1) for seed in (1, 2)]
        stories.append(await story(service, seed=1, n_candidates=1, model="second"))
        assert len({result.text for result in stories}) == 3
        assert stories[2].model_version == "tiny-2"

    async def test_greedy_needs_one_candidate(self, service: StoryService) -> None:
        result = await story(service, decoding=Decoding(temperature=0.0, max_new_tokens=20), seed=1)
        assert result.n == 1


class TestOtherModels:
    @pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-t5"])
    async def test_gpt2_and_t5(self, service: StoryService, model: str) -> None:
        result = await story(
            service, model=model, words=["dog"], n_candidates=2, decoding=Decoding(max_new_tokens=24)
        )
        assert (result.model, result.n) == (model, 2)

    async def test_beams(self, service: StoryService) -> None:
        asked = Decoding(num_beams=3, max_new_tokens=24)
        result = await story(service, words=["dog"], decoding=asked)
        assert (result.decoding.num_beams, result.n, result.words_missed) == (3, 3, [])

    async def test_two_models_are_kept_in_memory(self, service: StoryService) -> None:
        for model in ("second", "tiny-gpt2", "tiny-t5"):
            await story(service, model=model, n_candidates=1, decoding=Decoding(max_new_tokens=8))
        assert service.gauges()["models_loaded"] == 2
        assert (await story(service, seed=1)).model == "storyteller"


class TestRefusals:
    async def test_an_unknown_model_names_the_nearest(self, service: StoryService) -> None:
        error = await refusal(service, model="storyteler")
        assert error.code is ErrorCode.MODEL_UNKNOWN
        assert "storyteller" in error.message

    async def test_a_kind_that_the_model_cannot_do(self, service: StoryService) -> None:
        error = await refusal(service, model="tiny-gpt2", kind="simpler", parent="Tom ran.")
        assert error.code is ErrorCode.UNSUPPORTED_SETTING
        assert "joke" in error.message

    async def test_continuing_nothing(self, service: StoryService) -> None:
        assert (await refusal(service, kind="continue")).code is ErrorCode.INVALID_REQUEST

    async def test_more_candidates_than_beams(self, service: StoryService) -> None:
        error = await refusal(service, n_candidates=4, decoding=Decoding(num_beams=2))
        assert error.code is ErrorCode.UNSUPPORTED_SETTING

    async def test_too_much_text(self, service: StoryService) -> None:
        error = await refusal(service, model="tiny-gpt2", kind="continue", parent="Tom ran away. " * 300)
        assert error.code is ErrorCode.INVALID_REQUEST
        with pytest.raises(EngineError):
            await service.generate(PlainRequest(prompt="Tom ran away. " * 300))

    @pytest.mark.parametrize(
        "given",
        [{"words": ["porn"]}, {"title": "About porn"}, {"opening": "They watched porn."}],
        ids=["words", "title", "opening"],
    )
    async def test_unsuitable_words(self, service: StoryService, given: dict[str, Any]) -> None:
        error = await refusal(service, **given)
        assert error.code is ErrorCode.UNSUITABLE_WORDS
        assert "porn" in error.message

    @pytest.mark.parametrize("word", ["你好", "мама", "שלום", "🎉", "<eos>", "..."])
    async def test_words_that_the_model_has_no_letters_for(self, service: StoryService, word: str) -> None:
        error = await refusal(service, words=["dinner", word])
        assert error.code is ErrorCode.UNWRITABLE_WORDS
        assert word in error.message
        assert "dinner" not in error.message

    async def test_before_the_start_and_after_the_end(self, models: Path) -> None:
        service = StoryService(EngineSettings(models_dir=models, threads=1))
        assert not service.ready
        error = await refusal(service)
        assert error.code is ErrorCode.NOT_READY
        assert error.retry_after
        await service.aclose(0)
        assert (await refusal(service)).code is ErrorCode.SHUTTING_DOWN

    async def test_no_model_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        service = StoryService(EngineSettings(models_dir=tmp_path, default_model="none"))
        with pytest.raises(EngineError) as error:
            await service.start()
        assert error.value.code is ErrorCode.MODEL_UNKNOWN
        await service.aclose(0)


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

    async def test_nothing_unsuitable_is_ever_shown(self, open_service: Open) -> None:
        bad = " The dog ran home. They watched porn. Then it slept."
        service = await open_service(typist(" x", bad, " It was happy and it slept. Good."))
        events = await events_of(service, title="A dog", n_candidates=1)
        shown = "".join(event.delta for event in events if isinstance(event, TextEvent))
        assert shown.startswith("The dog ran home.")
        assert "porn" not in shown
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


class TestLoad:
    async def test_a_reader_who_leaves_frees_the_rows(self, open_service: Open) -> None:
        backend = typist(" They ran and ran" * 30)
        service = await open_service(backend, max_rows=4)
        backend.hold.clear()
        async with aclosing(service.stories(StoryRequest(n_candidates=4))) as events:
            waiting = asyncio.ensure_future(anext(events))
            while service.gauges()["running_rows"] < 4:
                await asyncio.sleep(0.005)
            waiting.cancel()
            await asyncio.wait([waiting])
        backend.hold.set()
        while service.gauges()["running_rows"]:
            await asyncio.sleep(0.005)
        assert service.gauges()["requests"] == 0

    async def test_200_readers_who_leave_cost_nothing(self, service: StoryService) -> None:
        async def leave() -> None:
            await events_of(service, n_candidates=4)

        tasks = [asyncio.create_task(leave()) for _ in range(200)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while service.gauges()["requests"]:
            await asyncio.sleep(0.005)
        assert (await story(service, seed=1)).text
        assert service.healthy

    async def test_overload_is_refused_at_once_with_a_time(self, open_service: Open) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend, max_rows=1, max_waiting=2)
        backend.hold.clear()
        tasks = [asyncio.create_task(events_of(service, n_candidates=1)) for _ in range(8)]
        async with asyncio.timeout(10):
            while sum(task.done() for task in tasks) < 5:
                await asyncio.sleep(0.01)
        (refused,) = next(task.result() for task in tasks if task.done())
        assert isinstance(refused, ErrorEvent)
        assert refused.code is ErrorCode.OVERLOADED
        assert refused.retry_after is not None
        assert refused.retry_after >= 1
        backend.hold.set()
        answers = [events[-1] for events in await asyncio.gather(*tasks)]
        assert 2 <= sum(isinstance(event, DoneEvent) for event in answers) <= 3
        places = [
            event.position for task in tasks for event in task.result() if isinstance(event, QueuedEvent)
        ]
        assert 0 in places

    async def test_fewer_candidates_under_pressure(self, service: StoryService) -> None:
        assert (await story(service)).n == SEEDED_ROWS
        crowd = await asyncio.gather(*(story(service) for _ in range(24)))
        assert min(result.n for result in crowd) <= 2

    async def test_a_story_past_its_deadline(self, open_service: Open) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend, deadline_seconds=0.05)
        backend.hold.clear()
        asked = asyncio.create_task(refusal(service, n_candidates=1))
        await asyncio.sleep(0.05)
        backend.hold.set()
        assert (await asked).code is ErrorCode.DEADLINE

    async def test_a_model_that_stumbles(self, open_service: Open) -> None:
        def crash(prompt: Sequence[int], written: Sequence[int]) -> int:
            raise MemoryError("scripted")

        service = await open_service(ScriptedBackend(crash, vocab_size=tiny_model.VOCABULARY))
        assert (await refusal(service)).code is ErrorCode.INTERNAL
        assert (await story(service, model="second", seed=1)).text
        assert service.healthy

    async def test_a_bug_gives_an_error_and_no_traceback(
        self, service: StoryService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engine.authoring.level_report", lambda *_: 1 / 0)
        error = await refusal(service, n_candidates=1)
        assert error.code is ErrorCode.INTERNAL
        assert "division" not in error.message

    async def test_closing_lets_running_stories_end(self, open_service: Open) -> None:
        service = await open_service()
        asked = asyncio.create_task(story(service, seed=3))
        while not service.gauges()["running_rows"]:
            await asyncio.sleep(0.005)
        await service.aclose(10)
        assert (await asked).text
        assert not service.ready
        assert not service.healthy

    async def test_closing_ends_what_takes_too_long(
        self, open_service: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend)
        # Closing does not wait longer for a thread that is stuck in a step.
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 0.05)
        backend.hold.clear()
        asked = asyncio.create_task(refusal(service))
        while not service.gauges()["running_rows"]:
            await asyncio.sleep(0.005)
        closing = asyncio.create_task(service.aclose(0.05))
        assert (await asked).code is ErrorCode.SHUTTING_DOWN
        backend.hold.set()
        await closing

    async def test_a_hung_backend_is_unhealthy(
        self, open_service: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = typist(" The dog ran home.")
        service = await open_service(backend)
        assert service.healthy
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 0.02)
        backend.hold.clear()
        asked = asyncio.create_task(events_of(service, n_candidates=1))
        while service.healthy:
            await asyncio.sleep(0.005)
        monkeypatch.setattr(engine.lane, "HEARTBEAT_SECONDS", 3.0)
        backend.hold.set()
        await asked
        assert service.healthy
