"""What a command answers, free of any platform: adapters render it natively.

Texts are already in the person's language. Knows no limits of length and no markup.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Role(Enum):
    """What a piece of a reply is, so that a platform can give it its look."""

    TITLE = "title"
    STORY = "story"
    TEXT = "text"
    ITEM = "item"
    RECEIPT = "receipt"
    NOTE = "note"
    DETAIL = "detail"


@dataclass(frozen=True, slots=True)
class Highlight:
    """Characters [start, end) of a segment's text that are a word of the learner's."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One paragraph or list line."""

    text: str
    role: Role = Role.TEXT
    highlights: tuple[Highlight, ...] = ()


@dataclass(frozen=True, slots=True)
class Button:
    """Something to tap: it calls `command` with `text` and `options`, just as if the person had typed it."""

    label: str
    command: str
    text: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The same as a typed line (`/again story=…`): ASCII, at most 64 bytes for the buttons we make."""
        parts = [f"/{self.command}", self.text, *(f"{key}={value}" for key, value in self.options.items())]
        return " ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of a settings panel. Numbers have a range and a step; others have `choices` to tap."""

    name: str
    value: str
    explanation: str
    is_default: bool
    allowed: str
    number: float | None = None
    lowest: float | None = None
    highest: float | None = None
    step: float | None = None
    choices: tuple[Button, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A page of settings, to be shown as rows, edited in place where a platform can."""

    rows: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A document to send; `name` is its file name."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Poll:
    """A quiz question; `correct` is the index of the right option."""

    question: str
    options: tuple[str, ...]
    correct: int
    explanation: str = ""


class Tone(Enum):
    """Whether the reply is what was asked for, or says why it is not."""

    ANSWER = "answer"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `personal`: in a group only the person who asked should see it, where possible."""

    segments: tuple[Segment, ...] = ()
    buttons: tuple[tuple[Button, ...], ...] = ()
    panel: Panel | None = None
    files: tuple[File, ...] = ()
    poll: Poll | None = None
    tone: Tone = Tone.ANSWER
    personal: bool = False
    story_id: str | None = None

    @staticmethod
    def of(*texts: str, tone: Tone = Tone.ANSWER, personal: bool = False) -> Reply:
        """Return a reply of plain paragraphs."""
        return Reply(tuple(Segment(text) for text in texts), tone=tone, personal=personal)

    @staticmethod
    def problem(text: str) -> Reply:
        """Return a reply that says why something can't be done."""
        return Reply((Segment(text),), tone=Tone.PROBLEM)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The story waits in the engine's queue; `position` requests are before it, `text` says so."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Writing:
    """The story so far: all of its text, not what is new. It may start anew after a fault.

    `label` says that more is coming.
    """

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Status:
    """A sentence about what is going on, to be shown until the reply comes."""

    text: str


Progress = Waiting | Writing | Status
Report = Callable[[Progress], Awaitable[None]]
"""What takes the progress while a reply is on its way."""


async def silent(progress: Progress) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Characters [start, end) of a flat text with a role; a highlight has the role None."""

    start: int
    end: int
    role: Role | None


@dataclass(frozen=True, slots=True)
class Flat:
    """A reply as one text with marks over it."""

    text: str
    marks: tuple[Mark, ...]


# Roles whose segments follow each other as lines of one block.
_BLOCKS = ({Role.ITEM}, {Role.RECEIPT, Role.DETAIL})


def flatten(segments: Sequence[Segment]) -> Flat:
    """Join segments into one text: a blank line between paragraphs, none between the lines of a block."""
    text = ""
    marks: list[Mark] = []
    previous: Segment | None = None
    for segment in segments:
        if previous is not None:
            text += "\n" if any({previous.role, segment.role} <= block for block in _BLOCKS) else "\n\n"
        start = len(text)
        text += segment.text
        marks.append(Mark(start, len(text), segment.role))
        marks += [Mark(start + mark.start, start + mark.end, None) for mark in segment.highlights]
        previous = segment
    return Flat(text, tuple(marks))
