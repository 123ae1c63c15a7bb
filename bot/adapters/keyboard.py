"""Lines that a person types or a pipe brings, read without blocking the event loop.

A terminal gets the line editor (arrow keys, history); its settings are put back however the chat ends.
Knows nothing of what the lines mean.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TextIO

LONGEST_LINE = 100_000
"""Characters; the rest of a longer line is read and thrown away."""


class Lines:
    """Asks for one line at a time. The reading thread is a daemon: it never keeps the process alive."""

    def __init__(self, source: TextIO, prompt: str | None = None) -> None:
        """`prompt`: shown before each line where `source` is a terminal; None reads quietly."""
        self._source = source
        self._prompt = prompt
        self._wanted: SimpleQueue[Callable[[str | None], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="keyboard", daemon=True)

    async def next(self) -> str | None:
        """Return the next line without its end, None after the last."""
        if not self._thread.is_alive():
            self._thread.start()
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str | None] = loop.create_future()

        def deliver(text: str | None) -> None:
            # The loop may be gone by the time that a person presses Enter.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_set, line, text)

        self._wanted.put(deliver)
        return await line

    def _read(self) -> None:
        while True:
            deliver = self._wanted.get()
            deliver(self._line())

    def _line(self) -> str | None:
        if self._prompt is not None:
            try:
                return input(self._prompt)
            except EOFError:
                return None
        line = self._source.readline(LONGEST_LINE)
        rest = line
        while rest and not rest.endswith("\n") and len(rest) == LONGEST_LINE:
            rest = self._source.readline(LONGEST_LINE)
        return line.rstrip("\r\n") if line else None


def _set(line: asyncio.Future[str | None], text: str | None) -> None:
    if not line.done():
        line.set_result(text)


@contextmanager
def terminal_kept(source: TextIO) -> Iterator[None]:
    """Put the terminal's settings back at the end: a line editor that is left in mid-line changes them."""
    if sys.platform == "win32" or not source.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(source.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(source.fileno(), termios.TCSADRAIN, before)


def with_line_editor() -> None:
    """Give input() arrow keys and history, where the system has them."""
    with suppress(ImportError):
        import readline  # noqa: F401 - importing it is what switches it on
