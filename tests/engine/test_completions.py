"""Completions as OpenAI's own client asks for them, of a tiny model; leaving, and errors in its shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import (
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
)

from engine.completing import Text
from engine.config import EngineSettings
from engine.service import StoryService
from tests import tiny_model
from tests.engine.running import running, until
from tests.engine.scripted import ScriptedService
from tests.engine.test_server import over_asgi

PROMPT = "Tom and Anna had"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    tiny_model.build_t5(folder / "tiny-t5")
    return folder


@pytest.fixture
async def openai(models: Path) -> AsyncIterator[AsyncOpenAI]:
    service = StoryService(EngineSettings(models_dir=models, threads=1, _env_file=None))
    async with running(service, token="t") as url:  # type: ignore[arg-type]
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="t", max_retries=0) as client:
            yield client
        await service.aclose(0)


async def complete(openai: AsyncOpenAI, **asked: Any) -> Any:
    return await openai.completions.create(**{"model": "storyteller", "prompt": PROMPT, "seed": 3} | asked)


async def streamed(openai: AsyncOpenAI, **asked: Any) -> tuple[dict[int, str], list[Any]]:
    """Return the text of each choice and all chunks."""
    texts: dict[int, str] = {}
    chunks = [chunk async for chunk in await complete(openai, stream=True, **asked)]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts, chunks


async def test_choices_seeds_and_counts(openai: AsyncOpenAI) -> None:
    answer = await complete(openai, max_tokens=12, n=3)
    again = await complete(openai, max_tokens=12, n=3, user="ann")
    other = await complete(openai, max_tokens=12, n=3, seed=4)
    assert [choice.text for choice in again.choices] == [choice.text for choice in answer.choices]
    assert [choice.text for choice in other.choices] != [choice.text for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in answer.choices} <= {"stop", "length"}
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 12 <= answer.usage.completion_tokens <= 36
    assert (answer.object, answer.model, answer.model_version) == ("text_completion", "storyteller", "tiny-1")
    default = await openai.completions.create(model="storyteller", prompt=[PROMPT])
    assert default.usage.completion_tokens <= 16


@pytest.mark.parametrize("asked", [{"n": 2}, {"echo": True}, {"stop": [" and", "the"], "n": 3}])
async def test_a_stream_joins_to_the_same_text(openai: AsyncOpenAI, asked: dict[str, Any]) -> None:
    whole = await complete(openai, max_tokens=40, temperature=0.8, **asked)
    usage = {"include_usage": True}
    texts, chunks = await streamed(openai, max_tokens=40, temperature=0.8, stream_options=usage, **asked)
    assert texts == {choice.index: choice.text for choice in whole.choices}
    assert chunks[-1].usage == whole.usage
    ends = [choice for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert [(end.index, end.finish_reason) for end in ends] == [
        (choice.index, choice.finish_reason) for choice in whole.choices
    ]
    assert len(chunks) > 4


async def test_stop_texts_end_a_choice(openai: AsyncOpenAI) -> None:
    free = (await complete(openai, max_tokens=60)).choices[0].text
    word = free.split()[3]
    cut = (await complete(openai, max_tokens=60, stop=word)).choices[0]
    assert cut.text == free[: free.index(word)]
    assert cut.finish_reason == "stop"


async def test_bias_and_echo(openai: AsyncOpenAI, models: Path) -> None:
    token = tiny_model.tokenizer().token_to_id("Ġdog")
    answer = await complete(openai, max_tokens=8, echo=True, logit_bias={str(token): 100})
    assert answer.choices[0].text == PROMPT + " dog" * 8
    never = await complete(openai, max_tokens=40, n=8, logit_bias={str(token): -100})
    assert all(" dog" not in choice.text for choice in never.choices)


async def test_a_model_that_writes_whole_texts(openai: AsyncOpenAI) -> None:
    texts, _ = await streamed(openai, model="tiny-t5", max_tokens=8, n=2)
    whole = await complete(openai, model="tiny-t5", max_tokens=8, n=2)
    assert texts == {choice.index: choice.text for choice in whole.choices}


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"model": "nobody"}, NotFoundError),
        ({"temperature": 9}, BadRequestError),
        ({"prompt": ["a", "b"]}, BadRequestError),
        ({"prompt": [1, 2]}, BadRequestError),
        ({"prompt": "Tom ran. " * 600}, BadRequestError),
        ({"logprobs": 3}, BadRequestError),
        ({"best_of": 4}, BadRequestError),
        ({"presence_penalty": 0.5}, BadRequestError),
        ({"logit_bias": {"999999": 1}}, BadRequestError),
        ({"logit_bias": {"1": 900}}, BadRequestError),
        ({"extra_body": {"nothing": 1}}, BadRequestError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_come_as_the_client_knows_them(
    openai: AsyncOpenAI, asked: dict[str, Any], kind: type[APIStatusError], stream: bool
) -> None:
    with pytest.raises(kind) as refused:
        await complete(openai, stream=stream, **asked)
    assert refused.value.body["message"]
    assert refused.value.body["type"] == "invalid_request_error"


async def test_a_model_by_name_and_a_wrong_token(openai: AsyncOpenAI) -> None:
    model = await openai.models.retrieve("storyteller")
    assert (model.id, model.object) == ("storyteller", "model")
    with pytest.raises(NotFoundError):
        await openai.models.retrieve("nobody")
    async with AsyncOpenAI(base_url=str(openai.base_url), api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(AuthenticationError):
            await complete(stranger)


async def test_a_stopping_engine() -> None:
    service = ScriptedService()
    async with running(service) as url:
        service.stopping = True
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="t", max_retries=0) as client:
            with pytest.raises(InternalServerError):
                await complete(client, model=None)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_work(stream: bool) -> None:
    service = ScriptedService(delay=0.05)
    body = {"max_tokens": 512, "stream": stream}
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        asked = asyncio.create_task(http.post("/v1/completions", json=body))
        await until(lambda: service.running == 1, 2)
        asked.cancel()
        await until(lambda: service.running == 0, 1)


async def test_the_figures_count_them() -> None:
    service = ScriptedService(delay=0)
    await service.start()
    async with over_asgi(service) as http:
        await http.post("/v1/completions", json={"max_tokens": 5})
        await http.post("/v1/completions", json={"model": "nobody"})
        figures = (await http.get("/metrics")).text
    assert 'wordtale_engine_requests_total{kind="completion",outcome="done"} 1.0' in figures
    assert 'wordtale_engine_requests_total{kind="completion",outcome="model_unknown"} 1.0' in figures
    assert "wordtale_engine_tokens_total 5.0" in figures


@given(
    text=st.text(alphabet="ab€\U0001f600", max_size=30),
    stops=st.lists(st.text(alphabet="ab€", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 5), min_size=60, max_size=60),
)
def test_text_shown_is_never_taken_back(text: str, stops: list[str], cuts: list[int]) -> None:
    data, tokens = text.encode(), []
    while data:
        size = cuts[len(tokens) % len(cuts)]
        tokens.append(data[:size])
        data = data[size:]
    growing, shown = Text(tokens.__getitem__, stops, stripped=False), ""
    for token in range(len(tokens)):
        ended = growing.feed(token, last=token == len(tokens) - 1)
        written, sure = growing.state
        assert written.startswith(shown)
        shown = written[:sure]
        if ended:
            break
    come = b"".join(tokens[: token + 1]).decode(errors="replace") if tokens else ""
    ends = [come.index(stop) for stop in stops if stop in come]
    assert growing.stopped == bool(ends)
    assert shown == (text[: min(ends)] if ends else text)
