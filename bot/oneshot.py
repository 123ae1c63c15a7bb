"""One story, one file of requests or one plain continuation for the command line. No chat, no history.

A person's settings play no part, so that a command means the same on every machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from bot.adapters.keyboard import Lines
from bot.adapters.screens import PlainScreen, RichScreen, Screen
from bot.batch import result_object, tell_all
from bot.config import BotSettings
from bot.localisation import Localiser, language_of_environment
from bot.messages import Problem
from bot.receipt import story_segments
from bot.replies import Reply
from bot.trouble import engine_problem
from engine.client import EngineClient, EngineError, EngineUnavailable, LocalEngine
from engine.schema import ErrorCode, PlainRequest, StoryRequest, StoryResult

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

OK = 0
FAILED = 1
BAD_INPUT = 2

T = TypeVar("T")


def one_story(request: StoryRequest, *, as_json: bool) -> int:
    """Tell one story on stdout: as text with its receipt, or as one JSON object. Return the exit status."""
    return _with_engine(lambda engine: _tell(engine, request, as_json), as_json)


def one_continuation(request: PlainRequest, *, as_json: bool) -> int:
    """Continue a prompt without any prompt format. Return the exit status."""

    async def generate(engine: LocalEngine) -> int:
        result = await _twice(engine, lambda client: client.generate(request))
        _write(_json(result.model_dump(mode="json")) if as_json else result.text)
        return OK

    return _with_engine(generate, as_json)


def file_of_stories(path: Path, *, as_jsonl: bool) -> int:
    """Tell a story for each line of a file (`-` is stdin), in order. Return the exit status.

    A line that is no request, or whose story failed, gives an error object in its place, and status 1.
    """
    try:
        source = sys.stdin if str(path) == "-" else path.open(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        sys.stderr.write(f"{path} can't be read: {error.strerror}.\n")
        return BAD_INPUT
    total = None if source is sys.stdin else _count_lines(path)
    screen = _screen()
    say = Localiser(language_of_environment() or "en")

    def emit(answer: StoryResult | dict[str, Any]) -> None:
        if as_jsonl:
            _write(_json(result_object(answer) if isinstance(answer, StoryResult) else answer))
        elif isinstance(answer, StoryResult):
            screen.show(Reply(tuple(story_segments(say, answer))))
        else:
            sys.stderr.write(f"{path}:{answer['line']}: {answer['error']['message']}\n")

    async def tell(engine: LocalEngine) -> int:
        with _progress(total) as step:
            done = await tell_all(engine, _numbered(source), emit, step, BotSettings().parallel)
        return OK if done else FAILED

    with source if source is not sys.stdin else nullcontext():
        return _with_engine(tell, as_jsonl)


def say_problem(wrong: Problem, *, as_json: bool) -> int:
    """Say what is wrong with the input. Return the exit status."""
    sentence = Localiser(language_of_environment() or "en").message(wrong)
    _complain("invalid_request", sentence, as_json)
    return BAD_INPUT


async def _tell(engine: LocalEngine, request: StoryRequest, as_json: bool) -> int:
    result = await _twice(engine, lambda client: client.story(request))
    if as_json:
        _write(_json(result_object(result)))
    else:
        say = Localiser(language_of_environment() or "en")
        _screen().show(Reply(tuple(story_segments(say, result))))
    return OK


async def _twice(engine: LocalEngine, ask: Callable[[EngineClient], Awaitable[T]]) -> T:
    """Ask; when the engine goes away meanwhile, bring it back and ask once more."""
    try:
        return await ask(engine.client)
    except EngineUnavailable:
        await engine.ensure()
        return await ask(engine.client)


def _with_engine(work: Callable[[LocalEngine], Awaitable[int]], as_json: bool) -> int:
    async def run() -> int:
        async with AsyncExitStack() as stack:
            with _spinner():
                engine = await stack.enter_async_context(LocalEngine())
            return await work(engine)

    try:
        return asyncio.run(run())
    except EngineError as error:
        _complain(error.code.value, _sentence(error), as_json)
        return FAILED


def _sentence(error: EngineError) -> str:
    """Return why no story came; where the chat would point to /settings, in the engine's own words."""
    if error.code in (ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_SETTING, ErrorCode.MODEL_UNKNOWN):
        return error.message
    return Localiser(language_of_environment() or "en").message(engine_problem(error))


def _complain(code: str, sentence: str, as_json: bool) -> None:
    if as_json:
        _write(_json({"error": {"code": code, "message": sentence}}))
    sys.stderr.write(sentence + "\n")


def _screen() -> Screen:
    if not sys.stdout.isatty():
        return PlainScreen(sys.stdout)
    from rich.console import Console

    return RichScreen(Console(highlight=False, markup=False, emoji=False))


def _spinner() -> AbstractContextManager[object]:
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    text = Localiser(language_of_environment() or "en")("console-starting")
    return Console(stderr=True).status(text)


class _Bar:
    """A progress bar on stderr, when that is a terminal."""

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


def _progress(total: int | None) -> AbstractContextManager[Callable[[], None]]:
    return _Bar(total) if sys.stderr.isatty() else nullcontext(lambda: None)


async def _numbered(source: TextIO) -> AsyncIterator[tuple[int, str]]:
    lines = Lines(source)
    number = 0
    while (line := await lines.next()) is not None:
        number += 1
        yield number, line


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
