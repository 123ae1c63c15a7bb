"""The HTTP application: answers, refusals, models, figures."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from engine.http.guard import BODY_LIMIT_BYTES
from engine.server import create_app
from tests.engine.running import running, until
from tests.engine.scripted import MODEL, UNSUITABLE, ScriptedService


def messages_of(stream: str) -> list[dict[str, str]]:
    """Return the fields of each server-sent message."""
    blocks = [block for block in stream.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def over_asgi(service: ScriptedService, token: str | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(service, token=token), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://engine")


async def test_story_as_json() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answer = await http.post("/v1/stories", json={"words": ["Tom", "dinner"], "genre": "sci_fi"})
    assert answer.status_code == 200
    assert answer.json()["words_used"] == ["Tom", "dinner"]


async def test_story_as_events() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answer = await http.post("/v1/stories", json={}, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    messages = messages_of(answer.text)
    assert [message["event"] for message in messages] == ["text"] * 4 + ["done"]
    deltas = [json.loads(message["data"])["delta"] for message in messages[:-1]]
    assert "".join(deltas) == json.loads(messages[-1]["data"])["result"]["text"]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"words": [UNSUITABLE]}, 400, "unsuitable_words"),
        ({"model": "nobody"}, 404, "model_unknown"),
        ({"words": ["a"] * 60}, 422, "invalid_request"),
    ],
)
async def test_refusals_have_a_status_in_both_forms(
    accept: str, body: dict[str, object], status: int, code: str
) -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answer = await http.post("/v1/stories", json=body, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"decoding": {"temperature": 9}}, "decoding.temperature: must be between 0 and 2"),
        ({"decoding": {"top_p": 0}}, "decoding.top_p: must be between 0 and 1, above 0"),
        ({"decoding": {"num_beams": "many"}}, "decoding.num_beams: must be between 1 and 8"),
        ({"words": ["a"] * 60}, "words: at most 12 entries"),
        ({"words": ["x" * 50]}, "words.0: at most 40 characters"),
        ({"words": ["  "]}, "words: a word is empty"),
        ({"title": " "}, "title: must not be blank"),
        ({"level": "C9"}, "level: must be one of 'A1', 'A2', 'B1' or 'B2'"),
        ({"word": ["Tom"]}, "word: is not a known field"),
        ({"x\r\ny": 1}, "xy: is not a known field"),
        ({"request_id": "a b"}, "request_id: may hold letters, digits and _ . : - only"),
        ({"seed": -1}, "seed: must be at least 0"),
        ([], "body: must be a JSON object"),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, "and 2 more"),
    ],
)
async def test_validation_says_what_is_allowed(body: object, message: str) -> None:
    async with over_asgi(ScriptedService()) as http:
        answer = await http.post("/v1/stories", json=body)
    assert answer.status_code == 422
    assert answer.json()["message"].endswith(message)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe{}", b'"\\ud800"', b"[" * 100_000, b'{"seed": NaN}', b'{"seed": 1e999}'],
    ids=["empty", "broken", "not UTF-8", "surrogate", "nested", "not a number", "infinite"],
)
async def test_a_body_that_is_not_json(body: bytes) -> None:
    async with over_asgi(ScriptedService()) as http:
        answer = await http.post("/v1/stories", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "-1e999"])
async def test_numbers_that_are_none(value: str) -> None:
    body = f'{{"decoding": {{"temperature": {value}}}}}'
    async with over_asgi(ScriptedService()) as http:
        answer = await http.post("/v1/stories", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["message"] == "decoding.temperature: must be between 0 and 2"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_web_page_cannot_ask_without_saying_json(kind: str | None) -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answer = await http.post("/v1/stories", content="{}", headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == 422
    assert service.started == 0


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://engine:8080", "http://["])
async def test_a_web_page_of_another_site_may_change_nothing(origin: str) -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answers = [
            await http.post(f"/v1/models/{MODEL}/activate", headers={"Origin": origin}),
            await http.post("/v1/models/rollback", headers={"Origin": origin}),
            await http.delete("/v1/stories/turn-1", headers={"Origin": origin}),
        ]
        own = await http.post(f"/v1/models/{MODEL}/activate", headers={"Origin": "http://engine"})
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert (own.status_code, service.activated) == (200, 1)


async def test_overload_says_when_to_try_again() -> None:
    service = ScriptedService(rows=1, waiting=1)
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        long = {"decoding": {"max_new_tokens": 100}}
        held = [asyncio.create_task(http.post("/v1/stories", json=long)) for _ in range(2)]
        await until(lambda: (service.running, service.waiting) == (1, 1), 2)
        began = asyncio.get_running_loop().time()
        answer = await http.post("/v1/stories", json={})
        took = asyncio.get_running_loop().time() - began
        for task in held:
            task.cancel()
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "3"
    assert answer.json() == {
        "code": "overloaded",
        "message": "Too many people are asking.",
        "retry_after": 2.5,
    }
    assert took < 0.5


async def test_models_are_activated_and_rolled_back() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        early = await http.post("/v1/models/rollback")
        done = await http.post(f"/v1/models/{MODEL}/activate")
        same = await http.post(f"/v1/models/{MODEL}/activate", json={"version": "1"})
        other = await http.post(f"/v1/models/{MODEL}/activate", json={"version": "2"})
        lost = await http.post("/v1/models/nobody/activate")
        back = await http.post("/v1/models/rollback")
        one = await http.get(f"/v1/models/{MODEL}")
        none = await http.get("/v1/models/nobody")
    statuses = [answer.status_code for answer in (early, done, same, other, lost, back, one, none)]
    assert statuses == [422, 200, 200, 422, 404, 200, 200, 404]
    assert (done.json()["model"], done.json()["model_version"], done.json()["kept"]) == (MODEL, "1", True)
    assert (one.json()["id"], one.json()["object"], one.json()["active"]) == (MODEL, "model", True)


async def test_plain_generation_models_and_lexicon() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        plain = await http.post("/v1/generate", json={"prompt": "So", "length": 2})
        models = await http.get("/v1/models")
        lexicon = await http.post("/v1/lexicon", json={"words": ["Tom"]})
        unknown = await http.post("/v1/generate", json={"model": "nobody"})
    assert plain.json()["text"] == "So and so on"
    assert [model["name"] for model in models.json()] == [MODEL]
    assert lexicon.json()["entries"][0]["word"] == "Tom"
    assert unknown.status_code == 404


async def test_health_while_loading_serving_broken_and_stopping() -> None:
    service = ScriptedService()
    app = create_app(service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://engine") as http:
        states = []

        async def look() -> None:
            assert (await http.get("/healthz")).status_code == 200
            answer = await http.get("/readyz")
            states.append((answer.status_code, answer.json()["state"]))

        await look()
        await service.start()
        await look()
        service.healthy = False
        await look()
        app.state.stopping = True
        await look()
    assert states == [(503, "loading"), (200, "ready"), (503, "unhealthy"), (503, "stopping")]


async def test_token_is_asked_of_everything_but_health() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service, token="secret") as http:
        for method, path in [
            ("POST", "/v1/stories"),
            ("GET", "/v1/models"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
            ("POST", "/v1/generate"),
            ("POST", "/v1/lexicon"),
            ("POST", f"/v1/models/{MODEL}/activate"),
            ("POST", "/v1/models/rollback"),
            ("GET", f"/v1/models/{MODEL}"),
            ("DELETE", "/v1/stories/turn-1"),
        ]:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer sécret"}):
                shown = {name: value.encode() for name, value in headers.items()}
                answer = await http.request(method, path, headers=shown)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert (await http.get("/readyz")).status_code == 200
        assert service.activated == 0
        granted = await http.post(f"/v1/models/{MODEL}/activate", headers={"Authorization": "Bearer secret"})
    assert (granted.status_code, service.activated) == (200, 1)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(chunked: bool) -> None:
    body = b"x" * (BODY_LIMIT_BYTES + 1)

    async def chunks():
        for first in range(0, len(body), 100_000):
            yield body[first : first + 100_000]

    service = ScriptedService()
    async with running(service) as url, httpx.AsyncClient(base_url=url) as http:
        answer = await http.post("/v1/stories", content=chunks() if chunked else body)
        assert answer.status_code == 413
        allowed = await http.post(
            "/v1/stories",
            content=b" " * (BODY_LIMIT_BYTES - 10) + b"{}",
            headers={"Content-Type": "application/json"},
        )
    assert allowed.status_code == 200


async def test_unknown_path_and_method_keep_the_error_shape() -> None:
    async with over_asgi(ScriptedService()) as http:
        lost = await http.get("/nowhere")
        wrong = await http.get("/v1/stories")
    assert (lost.status_code, lost.json()["code"]) == (404, "invalid_request")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_fault_becomes_a_sentence(accept: str) -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        answer = await http.post("/v1/stories", json={"title": "crash"}, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "Mallory" not in answer.text
    assert service.running == 0


async def test_metrics_count_outcomes_and_show_gauges() -> None:
    service = ScriptedService()
    await service.start()
    async with over_asgi(service) as http:
        await http.post("/v1/stories", json={"kind": "joke"})
        await http.post("/v1/stories", json={"words": [UNSUITABLE]})
        await http.post("/v1/generate", json={"length": 3})
        figures = (await http.get("/metrics")).text
    assert 'wordtale_engine_requests_total{kind="joke",outcome="done"} 1.0' in figures
    assert 'wordtale_engine_requests_total{kind="story",outcome="unsuitable_words"} 1.0' in figures
    assert 'wordtale_engine_requests_total{kind="plain",outcome="done"} 1.0' in figures
    assert "wordtale_engine_tokens_total 7.0" in figures
    assert "wordtale_engine_running_rows 0.0" in figures
    assert "wordtale_engine_ready 1.0" in figures
    assert UNSUITABLE not in figures
