"""Shows replies in a terminal: with colours and a spinner (rich), or as plain text for pipes and files.

Knows terminals; knows nothing of commands. Nothing that a person or a model wrote can send control codes.
"""

from __future__ import annotations

import unicodedata
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from bot.replies import (
    Panel,
    Progress,
    Reply,
    Report,
    Role,
    Segment,
    Status,
    Tone,
    Waiting,
    Writing,
    flatten,
    silent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console
    from rich.text import Text


class Screen(Protocol):
    """Where replies are shown."""

    def show(self, reply: Reply) -> None:
        """Show a whole reply."""
        ...

    def waiting(self, text: str) -> AbstractAsyncContextManager[Report]:
        """Show that something is going on; what it yields takes the progress."""
        ...


class PlainScreen:
    """Plain text, one blank line after each reply, no control codes, lines never broken."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, reply: Reply) -> None:
        """Write a reply."""
        print(safe(plain_text(reply)), end="\n\n", file=self._out, flush=True)

    @asynccontextmanager
    async def waiting(self, text: str) -> AsyncIterator[Report]:
        """Show nothing: what reads a pipe wants the answer only."""
        yield silent


class RichScreen:
    """Colours: the learner's words stand out, the receipt is below the story, what repeats it is dim."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, reply: Reply) -> None:
        """Draw a reply."""
        self._console.print()
        for index, segment in enumerate(reply.segments):
            if index and _gap(reply.segments[index - 1], segment):
                self._console.print()
            self._console.print(_drawn(segment, reply.tone))
        if reply.panel is not None:
            self._draw_panel(reply.panel)
        for line in _extra_lines(reply):
            self._console.print(_styled(line, ""))
        if reply.buttons:
            names = dict.fromkeys(f"/{button.command}" for row in reply.buttons for button in row)
            self._console.print(_styled("  ".join(names), "dim"))
        self._console.print()

    @asynccontextmanager
    async def waiting(self, text: str) -> AsyncIterator[Report]:
        """Show a spinner with the place in the queue, and the story as far as it is written."""
        with _Wait(self._console, text) as wait:
            yield wait.report

    def _draw_panel(self, panel: Panel) -> None:
        from rich.table import Table

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for row in panel.rows:
            style = "dim" if row.is_default else "bold green"
            table.add_row(
                _styled(row.name, "bold cyan"),
                _styled(row.value, style),
                _styled(f"{row.explanation} ({row.allowed})", ""),
            )
        self._console.print(table)


class _Wait:
    """The live part of a rich screen while a reply is on its way."""

    def __init__(self, console: Console, text: str) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self._spinner = Spinner("dots", text=_styled(text, "dim"))
        self._live = Live(self._spinner, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> _Wait:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    async def report(self, progress: Progress) -> None:
        """Take what is going on."""
        from rich.console import Group

        match progress:
            case Waiting(text=text):
                self._spinner.update(text=_styled(text, "dim"))
                self._live.update(self._spinner)
            case Writing(text=text, label=label):
                self._spinner.update(text=_styled(label, "dim"))
                self._live.update(Group(_styled(text, ""), self._spinner))
            case Status(text=text):
                self._spinner.update(text=_styled(text, "yellow"))
                self._live.update(self._spinner)


def plain_text(reply: Reply) -> str:
    """Return a reply as plain text: paragraphs, settings one a line, names of files."""
    parts = [flatten(reply.segments).text] if reply.segments else []
    if reply.panel is not None:
        parts.append(
            "\n".join(
                f"{row.name}: {row.value} ({row.allowed}) – {row.explanation}" for row in reply.panel.rows
            )
        )
    parts += _extra_lines(reply)
    return "\n\n".join(parts)


def safe(text: str) -> str:
    """Return text without control codes, which a terminal would obey; line breaks stay."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")


def _extra_lines(reply: Reply) -> list[str]:
    lines = [f"[{file.name}]" for file in reply.files]
    if reply.poll is not None:
        options = (f"{number}. {option}" for number, option in enumerate(reply.poll.options, 1))
        lines.append("\n".join((reply.poll.question, *options)))
    return lines


def _gap(previous: Segment, segment: Segment) -> bool:
    return flatten((previous, segment)).text.removeprefix(previous.text).startswith("\n\n")


_STYLES = {
    Role.TITLE: "bold",
    Role.STORY: "",
    Role.TEXT: "",
    Role.ITEM: "",
    Role.RECEIPT: "green",
    Role.NOTE: "italic",
    Role.DETAIL: "dim",
}
_WORD = "bold yellow"


def _drawn(segment: Segment, tone: Tone) -> Text:
    style = "yellow" if tone is Tone.PROBLEM and segment.role is Role.TEXT else _STYLES[segment.role]
    text = _styled(segment.text, style)
    for mark in segment.highlights:
        text.stylize(_WORD, mark.start, mark.end)
    return text


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    # Control codes become a visible mark of the same length, so that highlights stay in place.
    shown = "".join(c if c == "\n" or unicodedata.category(c) != "Cc" else "·" for c in text)
    return Text(shown, style=style)
