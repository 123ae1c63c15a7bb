"""The story service over tiny and scripted models: answers, seeds, other models, refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.config import EngineSettings
from engine.errors import EngineError
from engine.prompts import Storyteller
from engine.schema import (
    Decoding,
    ErrorCode,
    LexiconRequest,
    PlainRequest,
)
from engine.sentences import ends_properly
from engine.service import StoryService
from engine.telling import SEEDED_ROWS
from tests.engine.storytelling import refusal, story


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
