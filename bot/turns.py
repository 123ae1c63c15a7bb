"""One story turn: kept before the engine is asked, told, kept again; picked up where a crash left it.

Knows storage and the engine; knows nothing of commands and replies.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import ValidationError

from bot.context import Context
from bot.replies import Status, Waiting, Writing
from engine.client import EngineError, EngineUnavailable
from engine.schema import (
    DoneEvent,
    ErrorCode,
    ErrorEvent,
    QueuedEvent,
    StoryRequest,
    StoryResult,
    TextEvent,
)
from storage import StorageError, Story

CANCELLED = "cancelled"
"""`task.cancel(CANCELLED)`: the person wants no more of it. Cancelled otherwise, a story is resumed later."""
# The engine is away or about to be: worth one more try once it is back.
_PASSING = frozenset((ErrorCode.UNAVAILABLE, ErrorCode.SHUTTING_DOWN, ErrorCode.NOT_READY))


@dataclass(frozen=True, slots=True)
class Told:
    """A story told: `retold` says that the engine went away once, `kept` that it is in the history."""

    story: Story
    result: StoryResult
    retold: bool = False
    kept: bool = True


async def tell(
    context: Context, request: StoryRequest, *, version_of: str | None = None, parent_id: str | None = None
) -> Told:
    """Tell a new story. The request is on disk before the engine hears of it.

    The same turn again gives the same story. Raises EngineError and StorageError.
    """
    story = await context.store.stories.begin(
        context.person.id,
        context.caller.chat,
        request.model_dump(mode="json", exclude_none=True),
        turn=context.caller.turn,
        version_of=version_of,
        parent_id=parent_id,
    )
    return await resume(context, story)


async def resume(context: Context, story: Story) -> Told:
    """Tell a story that was begun, maybe by a process that is gone. Raises as `tell` does."""
    if story.state == "done" and story.result is not None:
        return Told(story, StoryResult.model_validate(story.result))
    if story.state == "failed":
        raise _failure(story.error)
    try:
        request = StoryRequest.model_validate(story.request).model_copy(update={"request_id": story.id})
    except ValidationError as error:
        await context.store.stories.fail(story.id, ErrorCode.INVALID_REQUEST)
        raise EngineError(ErrorCode.INVALID_REQUEST, "The request is of another version.") from error
    try:
        result, retold = await _generate(context, request)
    except EngineError as error:
        await context.store.stories.fail(story.id, error.code)
        raise
    except asyncio.CancelledError as cancelled:
        if cancelled.args == (CANCELLED,):
            await asyncio.shield(context.store.stories.fail(story.id, CANCELLED))
        raise
    return await _keep(context, story, result, retold)


async def _keep(context: Context, story: Story, result: StoryResult, retold: bool) -> Told:
    kept = result.model_dump(mode="json", exclude={"candidates"})
    try:
        story = await context.store.stories.finish(
            story.id, title=result.title, text=result.text, result=kept
        )
    except StorageError:
        # A story that can be read now is worth more than an apology for the history.
        return Told(story, result, retold, kept=False)
    return Told(story, result, retold)


async def _generate(context: Context, request: StoryRequest) -> tuple[StoryResult, bool]:
    """Return the story, and whether the engine had to be brought back for it: once, then it is given up."""
    try:
        return await _once(context, request), False
    except EngineError as error:
        if error.code not in _PASSING:
            raise
    await context.report(Status(context.say("engine-restarting")))
    await context.storyteller.revive()
    return await _once(context, request), True


async def _once(context: Context, request: StoryRequest) -> StoryResult:
    text = ""
    async with aclosing(context.storyteller.stream(request)) as events:
        async for event in events:
            match event:
                case QueuedEvent(position=position):
                    await context.report(
                        Waiting(position, context.say("progress-waiting", position=position))
                    )
                case TextEvent(delta=delta):
                    text += delta
                    await context.report(Writing(text, context.say("progress-writing")))
                case ErrorEvent():
                    raise EngineError.of(event.code, event.message, event.retry_after)
                case DoneEvent(result=result):
                    return result
    raise EngineUnavailable("The engine went away in the middle of the story.")


def _failure(code: str | None) -> EngineError:
    known = ErrorCode(code) if code in list(ErrorCode) else ErrorCode.UNAVAILABLE
    return EngineError.of(known, "")
