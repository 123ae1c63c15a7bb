"""One call to a completion server: what it refuses is left out, what fails is tried once more.

Knows legs and answers; knows nothing of words or drafts.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx
import structlog
from httpx_sse import EventSource

from engine.backends.openai_connection import Connection
from engine.backends.openai_identity import Identity, refused_token
from engine.backends.openai_prompts import TextForm
from engine.backends.openai_wire import TRANSFORMERS, Choice, Garbage, Leg, add_chunk, body_of, refusal_of
from engine.errors import EngineUnavailable, Overloaded

RETRY_SECONDS = 0.2
# What a server may make us wait with 429, at once and in all; longer is for the learner to decide.
MAX_BUSY_SECONDS = 10.0
MAX_BUSY_TOTAL = 30.0
BUSY_SECONDS = 1.0
MAX_CONTENT_BYTES = 1_000_000
# Fields that a request can do without.
OPTIONAL = (
    *("logit_bias", "n", "seed", "logprobs", "stop", "stop_token_ids", "return_token_ids"),
    *("skip_special_tokens", "top_k", "min_p", "repetition_penalty", "repeat_penalty", "top_p"),
    *("dry_multiplier", "dry_base", "dry_allowed_length"),
)
_WANTS_TEXT = re.compile(r"\bprompt\b.*\b(string|str|text)\b|\b(string|str)\b.*\bprompt\b", re.IGNORECASE)
_NO_MODEL = re.compile(r"model.*(not exist|not found|unknown)|unknown model|pinned to", re.IGNORECASE)

# Among the fields that a server does without: its answers come without ids.
_IDS = "ids"

Choices = dict[int, Choice]
Watch = Callable[[Choices], bool]

_log = structlog.get_logger("engine")


class _Fleeting(Exception):
    """A fault that may be over at the next try."""


class _Busy(Exception):
    """The server asks us to wait so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(str(seconds))


class _Refused(Exception):
    """The server won't have the request as it stands; `said` may repeat what a person typed."""

    def __init__(self, status: int, said: str) -> None:
        self.said = said
        self.unknown_model = status == 404 or _NO_MODEL.search(said) is not None
        super().__init__(f"status {status}")


class Caller:
    """Asks one server for texts of one model, and remembers what that server doesn't take."""

    def __init__(self, connection: Connection, form: TextForm) -> None:
        self.connection = connection
        self._form = form
        self._knows_no: dict[Identity, set[str]] = {}
        self._wants_text: set[Identity] = set()
        self._said: set[str] = set()

    async def identity(self) -> Identity:
        """Return who the server is. Raises EngineUnavailable."""
        return await self.connection.identity()

    def gives_choices(self, identity: Identity) -> bool:
        """Whether the server writes several texts in one call, as far as is known."""
        return identity.dialect.choices and "n" not in self._knows_no.get(identity, ())

    def tells_ids(self, identity: Identity) -> bool:
        """Whether the server tells the ids of what it writes, as far as is known."""
        return identity.dialect.ids_out and _IDS not in self._knows_no.get(identity, ())

    async def ask(self, leg: Leg, watch: Watch = lambda _: False) -> list[Choice]:
        """Return one to `leg.choices` texts; `watch` sees them grow and ends the call early with true.

        Raises EngineUnavailable, Overloaded, or InvalidRequest for a prompt that no text can stand for.
        """
        failed, until = False, time.monotonic() + MAX_BUSY_TOTAL
        while True:
            identity = await self.connection.identity()
            try:
                found = await self._call(leg, identity, watch)
            except _Busy as busy:
                if busy.seconds > MAX_BUSY_SECONDS or time.monotonic() + busy.seconds > until:
                    raise Overloaded("The completion server has too much to do.", busy.seconds) from busy
                await asyncio.sleep(busy.seconds)
            except _Refused as refused:
                raise self._final(_sentence(refused, identity)) from refused
            except _Fleeting as fault:
                _log.warning("a call to the completion server failed", why=str(fault), last=failed)
                if failed:
                    raise EngineUnavailable(f"The completion server {fault}.", retry_after=2.0) from fault
                failed = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.connection.refusal = None
                self._note_missing(leg, identity, found)
                return found

    def say_once(self, event: str, **facts: Any) -> None:
        """Write a warning to the log, the first time only."""
        if event not in self._said:
            self._said.add(event)
            _log.warning(event, **facts)

    def _final(self, sentence: str) -> EngineUnavailable:
        """Return an error that trying again can't mend; /readyz says the same until a call goes through."""
        self.connection.refusal = sentence
        return EngineUnavailable(sentence)

    async def _call(self, leg: Leg, identity: Identity, watch: Watch) -> list[Choice]:
        """Call until the server has nothing against the form of the request."""
        knows_no = self._knows_no.setdefault(identity, set())
        while True:
            as_ids = identity.dialect.ids_in and identity not in self._wants_text
            body = body_of(
                leg,
                identity.dialect,
                prompt=[*leg.prompt, *leg.written]
                if as_ids
                else self._form.of(leg.prompt) + leg.written_text,
                model=identity.model,
                refused=frozenset(knows_no),
            )
            try:
                return await self._once(body, leg, watch)
            except _Refused as refused:
                if as_ids and _WANTS_TEXT.search(refused.said):
                    self._wants_text.add(identity)
                    continue
                named = [name for name in OPTIONAL if name in body and _names(refused.said, name)]
                if not named:
                    raise
                self.say_once("the completion server does without", fields=", ".join(named))
                knows_no.update(named)

    async def _once(self, body: dict[str, Any], leg: Leg, watch: Watch) -> list[Choice]:
        choices: Choices = {}
        try:
            async with self.connection.call(body) as response:
                await self._check(response)
                async with aclosing(_data(response)) as pieces:
                    async for data in pieces:
                        add_chunk(choices, data, leg.choices)
                        self._check_usage(leg, data)
                        if watch(choices):
                            break
                    else:
                        if not choices or not all(each.finish for each in choices.values()):
                            raise _Fleeting("broke off in the middle")
        except httpx.ConnectError as error:
            raise _Fleeting("can't be reached") from error
        except httpx.TimeoutException as error:
            raise _Fleeting("went silent") from error
        except httpx.HTTPError as error:
            raise _Fleeting("broke off in the middle") from error
        except Garbage as garbage:
            raise _Fleeting(f"gave an answer that can't be used: {garbage}") from garbage
        return [choices[index] for index in sorted(choices)]

    async def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status in (401, 403):
            raise self._final(str(refused_token(self.connection.url)))
        wait = response.headers.get("retry-after")
        if status == 429 or (status == 503 and wait is not None):
            raise _Busy(_seconds(wait))
        if status >= 500:
            raise _Fleeting(f"failed with status {status}")
        raise _Refused(status, refusal_of(await _content(response)))

    def _check_usage(self, leg: Leg, data: Any) -> None:
        usage = data.get("usage") if isinstance(data, Mapping) else None
        read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        if isinstance(read, int) and not leg.written and read not in (0, len(leg.prompt)):
            self.say_once(
                "the completion server reads prompts otherwise: is it the same model?",
                meant=len(leg.prompt),
                read=read,
            )

    def _note_missing(self, leg: Leg, identity: Identity, found: list[Choice]) -> None:
        if leg.choices > 1 and len(found) == 1 and self.gives_choices(identity):
            self._knows_no[identity].add("n")
        if any(each.text and each.ids is None for each in found):
            self._knows_no[identity].add(_IDS)
        if identity.dialect is not TRANSFORMERS and any(each.logprobs is None for each in found):
            self.say_once("the completion server gives no log-probabilities; drafts are chosen without")


async def _data(response: httpx.Response) -> AsyncGenerator[Any, None]:
    """Yield the JSON objects of an answer: server-sent events, or one object in one piece."""
    if "text/event-stream" not in response.headers.get("content-type", ""):
        yield _parsed(await _content(response))
        return
    async for event in EventSource(response).aiter_sse():
        if event.data == "[DONE]":
            return
        yield _parsed(event.data)


async def _content(response: httpx.Response) -> str:
    content = b""
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MAX_CONTENT_BYTES:
            raise Garbage("it does not end")
    return content.decode("utf-8", errors="replace")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Garbage("it is no JSON") from error


def _sentence(refused: _Refused, identity: Identity) -> str:
    if refused.unknown_model:
        return f"The completion server has no model {identity.model}: choose another with --remote-model."
    return f"The completion server refuses the request ({refused}); its own log says why."


def _names(sentence: str, field: str) -> bool:
    return re.search(rf"(?<![a-z_]){field}(?![a-z_])", sentence.lower()) is not None


def _seconds(header: str | None) -> float:
    """Return what a Retry-After header asks for; a date counts as BUSY_SECONDS."""
    try:
        return max(0.0, float(header or BUSY_SECONDS))
    except ValueError:
        return BUSY_SECONDS
