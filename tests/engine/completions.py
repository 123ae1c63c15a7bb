"""A completion server that does as it is told: a stand-in for vLLM and others, with faults on demand.

Its model writes the same sentences for ever, and every fourth token what the bias favours most.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tokenizers import Tokenizer

from engine.prompts.storyteller import EOS, STORY, TITLE
from tests import tiny_model

SENTENCES = " The old dog ran to the door. She looked at the sea and was happy. They went to the market."
LENGTH = 40


class Completions:
    """The server. `calls` are the bodies it got, `faults` are used up one a call, `streams` are open now."""

    def __init__(self, kind: str = "vllm") -> None:
        self.kind = kind
        self.calls: list[dict[str, Any]] = []
        self.faults: deque[str] = deque()
        self.refuses: set[str] = set()
        self.models = ["tiny"]
        self.key: str | None = None
        self.delay = 0.0
        self.takes_ids = self.takes_n = True
        self.streams = self.most_streams = 0
        self._words = Tokenizer.from_str(tiny_model.tokenizer().to_str())
        self._controls = set(self._words.get_added_tokens_decoder())
        self._text = self._words.encode(SENTENCES).ids

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._list),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return Response()

    async def _list(self, request: Request) -> Response:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"message": "no"}}, 401)
        data = [{"id": name, "object": "model", "owned_by": self.kind} for name in self.models]
        return JSONResponse({"object": "list", "data": data})

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.calls.append(body)
        fault = self.faults.popleft() if self.faults else ""
        refusal = self._refusal(body, fault)
        if refusal is not None:
            return refusal
        return StreamingResponse(self._stream(body, fault), media_type="text/event-stream")

    def _refusal(self, body: dict[str, Any], fault: str) -> Response | None:
        if fault.startswith("429"):
            return JSONResponse({}, 429, headers={"Retry-After": fault[4:]})
        if fault.isdigit():
            return JSONResponse({"error": {"message": "Zanzibar is wrong"}}, int(fault))
        if fault == "html":
            return HTMLResponse("<h1>It works!</h1>")
        if fault == "other":
            return JSONResponse({"text": "It works!"})
        if not self.takes_ids and not isinstance(body["prompt"], str):
            return JSONResponse({"detail": "prompt must be a string."}, 400)
        for name in sorted(self.refuses & set(body)):
            return JSONResponse({"detail": f"Unexpected fields in the request: {{'{name}'}}"}, 422)
        return None

    async def _stream(self, body: dict[str, Any], fault: str) -> AsyncIterator[str]:
        self.streams += 1
        self.most_streams = max(self.most_streams, self.streams)
        try:
            texts = [self._write(body, index) for index in range(body.get("n", 1) if self.takes_n else 1)]
            for step in range(max(len(ids) for ids, _ in texts)):
                await asyncio.sleep(self.delay)
                for index, (ids, finish) in enumerate(texts):
                    if step < len(ids):
                        last = finish if step + 1 == len(ids) else None
                        yield f"data: {json.dumps(self._chunk(body, index, ids[step], last))}\n\n"
                if fault == "break" and step == 1:
                    raise ConnectionResetError
                if fault == "silence" and step == 1:
                    await asyncio.sleep(30)
            yield "data: [DONE]\n\n"
        finally:
            self.streams -= 1

    def _chunk(self, body: dict[str, Any], index: int, token: int, finish: str | None) -> dict[str, Any]:
        hidden = token in self._controls
        choice: dict[str, Any] = {"index": index, "finish_reason": finish}
        choice["text"] = "" if hidden else self._words.decode([token])
        if body.get("return_token_ids"):
            choice["token_ids"] = [token]
            choice["logprobs"] = {"token_logprobs": [-1.0]}
        if self.kind == "llamacpp" and body.get("logprobs"):
            choice["logprobs"] = {"content": [{"id": token, "logprob": -1.0}]}
        return {"choices": [choice]}

    def _write(self, body: dict[str, Any], index: int) -> tuple[list[int], str]:
        """Return the tokens of one text and how it ended."""
        prompt = body["prompt"]
        ids = self._words.encode(prompt).ids if isinstance(prompt, str) else list(prompt)
        bias = {int(token): value for token, value in body.get("logit_bias", {}).items()}
        end, story = self._words.token_to_id(EOS), self._words.token_to_id(STORY)
        out: list[int] = []
        while len(out) < body["max_tokens"]:
            token = self._next([*ids, *out], bias, body.get("seed", 0) + index)
            out.append(token)
            if token == end or token in body.get("stop_token_ids", ()):
                return out, "stop"
            # llama.cpp looks for stops in the text, in which it hides control tokens.
            if token == story and STORY in body.get("stop", ()) and self.kind != "llamacpp":
                return out, "stop"
        return out, "length"

    def _next(self, ids: list[int], bias: dict[int, float], seed: int) -> int:
        title, story, end = map(self._words.token_to_id, (TITLE, STORY, EOS))
        if story not in ids:
            return self._text[1 + seed % 3] if ids[-1] == title else story
        at = len(ids) - ids.index(story) - 1
        best = max(bias, key=lambda token: bias[token], default=end)
        if at % 4 == 3 and bias.get(best, 0.0) > 0:
            return best
        if at >= LENGTH and bias.get(end, 0.0) > -50:
            return int(end)
        return self._text[(at + seed) % len(self._text)]


@asynccontextmanager
async def serving(server: Completions, port: int = 0) -> AsyncIterator[str]:
    """Serve on a port; give the address."""
    config = uvicorn.Config(server.app(), http="h11", ws="none", lifespan="off", log_config=None)
    process = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        running = asyncio.create_task(process._serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        process.should_exit = process.force_exit = True
        await running
