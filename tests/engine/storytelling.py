"""Stories asked of a service in this process, and a backend that types given texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.prompts import Codec
from engine.schema import (
    Decoding,
    DoneEvent,
    ErrorEvent,
    StoryEvent,
    StoryRequest,
    StoryResult,
    TextEvent,
)
from engine.service import StoryService
from engine.testing import ScriptedBackend
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())
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
