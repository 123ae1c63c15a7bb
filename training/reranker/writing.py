"""Stories that a model itself tells for given requests: many at once, kept in a file, resumable.

The engine's own decoder writes them, words kept and guides at work, so that they are what learners would get.
Knows nothing of what the stories are for.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.jobs import Failed, Finished, JobEvent
from engine.loading import LoadedModel, load
from engine.registry import read_card
from engine.scheduler import Scheduler
from engine.schema import StoryRequest
from engine.scoring import Draft
from engine.telling import Telling, prepare

ROWS = 64
DEADLINE_SECONDS = 3600.0
REPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Told:
    """One request and the drafts that the model wrote for it; `id` is the asker's."""

    id: str
    request: StoryRequest
    drafts: list[Draft]


class Writer:
    """A model with a decoder of its own; `reranker` is a scorer's folder if not the model's own.

    Call `close` at the end. Raises ModelRefused when the directory holds no model that can be stepped.
    """

    def __init__(
        self, directory: Path, *, threads: int, rows: int = ROWS, reranker: Path | None = None
    ) -> None:
        self.model: LoadedModel = load(
            read_card(directory), device="auto", threads=threads, reranker=reranker
        )
        self._rows = rows
        self._scheduler = Scheduler(max_rows=rows, max_waiting=4 * rows, name="writing")
        self._scheduler.start()

    def tell(self, asked: Iterable[tuple[str, StoryRequest]]) -> Iterator[Told]:
        """Yield the stories of the requests as they end, about `rows` rows under way at any time.

        Every request has a number of candidates. One that fails is left out.
        """
        ended: queue.Queue[tuple[str, Telling, JobEvent]] = queue.Queue()
        running = 0
        for name, request in asked:
            while running * (request.n_candidates or 1) >= 2 * self._rows:
                running -= 1
                yield from self._told(*ended.get())
            telling = prepare(request, self.model)
            sink = _sink(ended, name, telling)
            self._scheduler.submit(telling.job(0, time.monotonic() + DEADLINE_SECONDS, sink))
            running += 1
        for _ in range(running):
            yield from self._told(*ended.get())

    def close(self) -> None:
        """End the decoder."""
        self._scheduler.drain(0)

    def _told(self, name: str, telling: Telling, event: JobEvent) -> Iterator[Told]:
        if isinstance(event, Finished):
            yield Told(name, telling.request, telling.drafts(event.rows))


def _sink(
    ended: queue.Queue[tuple[str, Telling, JobEvent]], name: str, telling: Telling
) -> Callable[[JobEvent], None]:
    def sink(event: JobEvent) -> None:
        if isinstance(event, Finished | Failed):
            ended.put((name, telling, event))

    return sink


def write_told(
    path: Path, writer: Writer, asked: Iterable[tuple[str, StoryRequest]], report: Callable[[str], None]
) -> int:
    """Append the stories of those requests whose ids the file lacks; return how many were added."""
    have = {told["id"] for told in read_told(path)}
    left = [(name, request) for name, request in asked if name not in have]
    count, began = 0, time.monotonic()
    said = began
    with path.open("a", encoding="utf-8") as file:
        for told in writer.tell(left):
            file.write(json.dumps(_row(told), ensure_ascii=False) + "\n")
            file.flush()
            count += 1
            now = time.monotonic()
            if now - said > REPORT_SECONDS:
                said = now
                speed = count / (now - began)
                report(f"{path.name}: {count:,} of {len(left):,} requests, {speed:.1f} a second")
    return count


def read_told(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file that `write_told` wrote; a line cut short by a kill is taken off the file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    return [json.loads(line) for line in data[:whole].splitlines()]


def _row(told: Told) -> dict[str, Any]:
    drafts = [
        {
            "title": draft.title,
            "text": draft.text,
            "logprob": round(draft.logprob, 4),
            "score": round(draft.score, 3),
            "learned": None if draft.learned is None else round(draft.learned, 4),
            "missed": draft.missed,
            "cut": draft.cut,
        }
        for draft in told.drafts
    ]
    request = told.request.model_dump(mode="json", exclude_defaults=True)
    return {"id": told.id, "request": request, "drafts": drafts}
