"""Many requests, one a line: several in flight at once, answers in the order of the lines.

Knows the wire; knows no files and no terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Any, Protocol

from pydantic import ValidationError

from bot.complaints import complaints
from engine.client import EngineClient, EngineError
from engine.schema import ErrorCode, StoryRequest, StoryResult

BUSY_TRIES = 20
BUSY_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 10.0

Answer = StoryResult | dict[str, Any]


class Engine(Protocol):
    """A client, and the means to bring its engine back."""

    client: EngineClient

    async def ensure(self) -> None:
        """Return when an engine answers."""
        ...


async def tell_all(
    engine: Engine,
    lines: AsyncIterable[tuple[int, str]],
    emit: Callable[[Answer], None],
    step: Callable[[], None],
    parallel: int,
) -> bool:
    """Tell a story for each (number, line); `emit` gets the answers in order, `step` is called after each.

    At most `parallel` requests are in flight. Blank lines are passed over. Return whether all were told.
    """
    free = asyncio.Semaphore(parallel)
    # Twice as many begun as may run: one slow story does not leave the engine idle.
    begun: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue(2 * parallel)
    tasks: set[asyncio.Task[Answer]] = set()
    fine = True

    async def begin() -> None:
        try:
            async for number, line in lines:
                if line.strip():
                    task = asyncio.create_task(_answer(engine, free, number, line))
                    tasks.add(task)
                    await begun.put(task)
        finally:
            await begun.put(None)

    reading = asyncio.create_task(begin())
    try:
        while (task := await begun.get()) is not None:
            answer = await task
            tasks.discard(task)
            emit(answer)
            step()
            fine = fine and isinstance(answer, StoryResult)
        await reading
    finally:
        for left in tasks:
            left.cancel()
        reading.cancel()
    return fine


def result_object(result: StoryResult) -> dict[str, Any]:
    """Return a story as the JSON object that the command line promises; further fields come after those."""
    fields = result.model_dump(mode="json")
    first = (
        *("title", "text", "genre", "level", "words", "words_used", "words_missed", "spans"),
        *("model", "seed", "n", "decoding", "timing"),
    )
    rest = {name: value for name, value in fields.items() if name not in first and value is not None}
    return {name: fields[name] for name in first} | rest


async def _answer(engine: Engine, free: asyncio.Semaphore, number: int, line: str) -> Answer:
    try:
        request = StoryRequest.model_validate_json(line)
    except ValidationError as error:
        return _error(number, ErrorCode.INVALID_REQUEST, "; ".join(complaints(error)))
    async with free:
        try:
            return await _patiently(engine, request)
        except EngineError as error:
            return _error(number, error.code, error.message)


async def _patiently(engine: Engine, request: StoryRequest) -> StoryResult:
    """Ask; wait where the engine is busy, bring it back once where it went away."""
    revived = False
    for _ in range(BUSY_TRIES):
        try:
            return await engine.client.story(request)
        except EngineError as error:
            if error.code is ErrorCode.OVERLOADED:
                await asyncio.sleep(min(error.retry_after or BUSY_SECONDS, LONGEST_WAIT_SECONDS))
            elif error.code in (ErrorCode.UNAVAILABLE, ErrorCode.SHUTTING_DOWN) and not revived:
                revived = True
                await engine.ensure()
            else:
                raise
    raise EngineError(ErrorCode.OVERLOADED, "The engine stayed busy.")


def _error(number: int, code: ErrorCode, message: str) -> dict[str, Any]:
    return {"line": number, "error": {"code": code.value, "message": message}}
