"""The story card: a told story with its receipt, what went wrong on the way, hints and buttons.

Knows what was told; knows neither storage nor platform.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.localisation import Localiser
from bot.messages import Message
from bot.receipt import UNTITLED, story_segments
from bot.replies import Button, Reply, Role, Segment
from bot.turns import Told


def story_card(say: Localiser, told: Told, notes: Sequence[Message] = ()) -> Reply:
    """Return the reply for a told story; `notes` come after it."""
    before = [Segment(say("engine-retold"), Role.NOTE)] if told.retold else []
    after = [Segment(say.message(note), Role.NOTE) for note in notes]
    if not told.kept:
        after.append(Segment(say("story-not-kept"), Role.NOTE))
    return Reply(
        segments=(*before, *story_segments(say, told.result), *after),
        buttons=(_buttons(say, told),) if told.kept else (),
        story_id=told.story.id,
    )


def _buttons(say: Localiser, told: Told) -> tuple[Button, ...]:
    target = {"story": told.story.id}
    buttons = (Button(say("button-again"), "again", options=target),)
    if told.result.kind in UNTITLED:
        return buttons
    return (*buttons, Button(say("button-continue"), "continue", options=target))
