"""The engine in front of a scripted completion server: what is asked of it, and what its faults become."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from engine.backends import openai_connection
from engine.cli import app
from engine.config import EngineSettings
from engine.schema import StoryResult
from engine.service import StoryService
from tests import tiny_model
from tests.engine.completions import Completions, serving
from tests.engine.running import running, until

WORDS = ["window", "brave"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without weights: the server has them."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    (folder / "storyteller" / "model.safetensors").unlink()
    return folder


@pytest.fixture
def settings(models: Path) -> Callable[..., EngineSettings]:
    def make(**given: Any) -> EngineSettings:
        base = {"backend": "openai", "models_dir": models, "backend_drafts": 3}
        return EngineSettings(_env_file=None, **{**base, **given})

    return make


@asynccontextmanager
async def engine(server: Completions, settings: EngineSettings) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a started engine; what the server was asked at the start is forgotten."""
    service = StoryService(settings)
    try:
        async with running(service) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
            server.calls.clear()
            yield client
    finally:
        await service.aclose(0.1)


@pytest.fixture
async def pair(
    settings: Callable[..., EngineSettings], request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Completions, httpx.AsyncClient]]:
    """A server and an engine before it; parameters are settings, `kind` is the server's."""
    given = dict(getattr(request, "param", {}))
    server = Completions(given.pop("kind", "vllm"))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(server))
        yield server, await stack.enter_async_context(engine(server, settings(backend_url=url, **given)))


async def told(client: httpx.AsyncClient, **request: Any) -> StoryResult:
    answer = await client.post("/v1/stories", json={"seed": 1, **request})
    assert answer.status_code == 200, answer.text
    return StoryResult.model_validate(answer.json())


async def refused(client: httpx.AsyncClient, status: int, code: str, **request: Any) -> dict[str, Any]:
    answer = await client.post("/v1/stories", json={"seed": 1, **request})
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    return body


Pair = tuple[Completions, httpx.AsyncClient]


@pytest.mark.parametrize("pair", [{}, {"kind": "llamacpp"}], indirect=True)
async def test_words_are_kept_by_bias_and_the_rest_is_ours(pair: Pair) -> None:
    server, client = pair
    story = await told(client, words=WORDS, return_candidates=True)
    assert story.words_missed == []
    assert {span.word for span in story.spans} == set(WORDS)
    assert (story.n, story.model, len(story.candidates or ())) == (3, "storyteller", 2)
    assert story == (await told(client, words=WORDS, return_candidates=True)).model_copy(
        update={"timing": story.timing}
    )
    assert all(isinstance(call["prompt"], list) and call["model"] == "tiny" for call in server.calls)
    pushed = [any(value > 0 for value in call["logit_bias"].values()) for call in server.calls]
    assert not pushed[0], "the title needs no words"
    assert any(pushed)
    assert "logit_bias" in server.calls[-1]
    assert not pushed[-1], "the end needs no words"


async def test_without_words_all_drafts_come_from_one_call(pair: Pair) -> None:
    server, client = pair
    story = await told(client)
    assert [call.get("n") for call in server.calls] == [3]
    assert story.title
    assert story.text.startswith(story.text.strip())
    server.calls.clear()
    server.takes_n = False
    await told(client)
    await told(client)
    assert [call.get("n") for call in server.calls] == [3, None, None, None, None, None]


@pytest.mark.parametrize("pair", [{"kind": "other"}], indirect=True)
async def test_a_plain_server_that_hides_control_tokens(pair: Pair) -> None:
    server, client = pair
    server.takes_ids = False
    story = await told(client, words=WORDS)
    assert story.words_missed == []
    assert story.title in ("The old", "old", "dog", "The")
    assert not story.text.startswith(story.title + " ")
    assert all(isinstance(call["prompt"], str) for call in server.calls[1:])
    assert server.calls[1]["prompt"] == "<bos><words> window, brave<title>"
    assert server.calls[1]["stop"] == ["<story>"]
    body = await refused(client, 422, "invalid_request", opening="Then <eos> came <story> again.")
    assert "control token" in body["message"]


async def test_what_a_server_refuses_is_left_out(pair: Pair) -> None:
    server, client = pair
    server.refuses = {"logit_bias", "min_p", "return_token_ids", "logprobs"}
    await told(client, words=WORDS)
    assert not server.refuses & set(server.calls[-1])
    server.calls.clear()
    await told(client)
    assert [call.get("n") for call in server.calls] == [3, None, None, None], "one for the titles"
    assert not any(server.refuses & set(call) for call in server.calls)


async def test_a_fault_is_tried_again_once(pair: Pair) -> None:
    server, client = pair
    for fault in ("break", "500", "html", "other"):
        server.faults.extend([fault])
        assert (await told(client)).text
        server.faults.extend([fault] * 8)
        body = await refused(client, 503, "unavailable")
        assert body["message"].startswith("The completion server")
        server.faults.clear()
    assert (await told(client)).text


async def test_what_a_server_says_against_a_request_is_not_passed_on(pair: Pair) -> None:
    server, client = pair
    for fault, said in (("400", "refuses the request (status 400)"), ("404", "has no model tiny")):
        server.calls.clear()
        server.faults.append(fault)
        body = await refused(client, 503, "unavailable", n_candidates=1)
        assert said in body["message"]
        assert "Zanzibar" not in body["message"], "it may be a word that a person typed"
        assert len(server.calls) == 1


async def test_a_busy_server_is_waited_for_as_it_asks(pair: Pair) -> None:
    server, client = pair
    server.faults.extend(["429 0.2", "429 0.1"])
    began = asyncio.get_running_loop().time()
    assert (await told(client)).text
    assert asyncio.get_running_loop().time() - began >= 0.3
    server.faults.append("429 60")
    answer = await client.post("/v1/stories", json={})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        429,
        "overloaded",
        "60",
    )


async def test_a_refused_key_is_said_at_once(pair: Pair) -> None:
    server, client = pair
    server.faults.append("401")
    body = await refused(client, 503, "unavailable", n_candidates=1)
    assert "WORDTALE_ENGINE_BACKEND_TOKEN" in body["message"]
    assert len(server.calls) == 1
    await reason(client, body["message"])
    await told(client)
    await reason(client, "")


async def test_a_learner_who_leaves_closes_the_calls(pair: Pair) -> None:
    server, client = pair
    server.delay = 0.05
    leaving = asyncio.create_task(client.post("/v1/stories", json={"words": WORDS}))
    await until(lambda: server.streams > 0, 5)
    leaving.cancel()
    await until(lambda: server.streams == 0, 2)
    server.delay = 0.0
    assert (await told(client)).text


async def test_a_server_that_goes_silent(
    settings: Callable[..., EngineSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_connection, "SILENCE_SECONDS", 0.3)
    server = Completions()
    async with serving(server) as url, engine(server, settings(backend_url=url)) as client:
        server.faults.append("silence")
        assert (await told(client)).text
        server.faults.extend(["silence"] * 8)
        body = await refused(client, 503, "unavailable")
        assert body["message"] == "The completion server went silent."


@pytest.mark.parametrize("pair", [{"deadline_seconds": 1.0}], indirect=True)
async def test_the_deadline_closes_the_calls(pair: Pair) -> None:
    server, client = pair
    server.faults.extend(["silence"] * 9)
    body = await refused(client, 504, "deadline")
    assert body["message"]
    await until(lambda: server.streams == 0, 2)


@pytest.mark.parametrize("pair", [{"backend_parallel": 5}], indirect=True)
async def test_many_stories_at_once_and_never_too_many_calls(pair: Pair) -> None:
    server, client = pair
    server.delay = 0.001
    stories = await asyncio.gather(*(told(client, words=["window"], seed=seed) for seed in range(5)))
    assert all(story.words_missed == [] for story in stories)
    assert server.most_streams == 5
    alone = await told(client, words=["window"], seed=3)
    assert (alone.title, alone.text) == (stories[3].title, stories[3].text)


async def reason(client: httpx.AsyncClient, part: str) -> None:
    """Wait until /readyz gives a reason with this part; '' waits for ready."""
    async with asyncio.timeout(5):
        while True:
            answer = await client.get("/readyz")
            said = answer.json().get("reason", "")
            if (part in said) if part else answer.status_code == 200:
                return
            await asyncio.sleep(0.02)


async def test_a_server_comes_and_goes_and_readyz_says_what_it_lacks(
    settings: Callable[..., EngineSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_connection, "LOOK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = Completions()
    server.key, server.models = "secret", ["big", "huge"]
    given = settings(backend_url=f"{address}/v1/", backend_model="small", backend_token="key")
    async with engine(server, given) as client:
        away = f"The completion server at {address} can't be reached."
        await reason(client, away)
        assert (await refused(client, 503, "unavailable"))["message"] == away
        async with serving(server, port):
            await reason(client, "refuses us: set WORDTALE_ENGINE_BACKEND_TOKEN")
            server.key = "key"
            await reason(client, "has no model small, only: big, huge")
            server.models = ["big", "small"]
            await reason(client, "")
            await told(client)
            assert server.calls[-1]["model"] == "small"
        await reason(client, away)


async def test_several_models_need_a_choice(settings: Callable[..., EngineSettings]) -> None:
    server = Completions()
    server.models = ["big", "small"]
    async with serving(server) as url, engine(server, settings(backend_url=url)) as client:
        await reason(client, "has several models: choose one with --remote-model (big, small)")


async def test_other_clients_get_plain_texts_with_their_own_bias(pair: Pair) -> None:
    server, client = pair
    asked = {"prompt": "The old", "max_tokens": 9, "n": 4, "seed": 1, "stop": ["sea"]}
    answer = await client.post("/v1/completions", json={**asked, "logit_bias": {"300": 5, "301": -100}})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == 4
    assert all("sea" not in choice["text"] for choice in answer.json()["choices"])
    assert {"300": 5.0, "301": -100.0}.items() <= server.calls[-1]["logit_bias"].items()
    plain = await client.post("/v1/generate", json={"prompt": "The old", "length": 9})
    assert plain.json()["tokens"] == 9


async def test_beams_are_refused_with_a_sentence(pair: Pair) -> None:
    body = await refused(pair[1], 422, "unsupported_setting", decoding={"num_beams": 4})
    assert "num_beams" in body["message"]


def test_an_address_is_asked_for_on_the_command_line() -> None:
    for given_url, said in (
        (None, "needs it"),
        ("localhost:8000", "must be like"),
        ("http://a:b@c", "must be"),
    ):
        arguments = ["serve", "--backend", "openai", *(["--url", given_url] if given_url else [])]
        outcome = CliRunner().invoke(app, arguments)
        assert outcome.exit_code == 78
        assert outcome.output.startswith("WORDTALE_ENGINE_BACKEND_URL: ")
        assert said in outcome.output
