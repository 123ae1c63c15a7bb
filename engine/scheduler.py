"""Continuous batching: rows of any jobs decode together, joining and leaving between steps.

Sees `step(tokens, slots, positions, rows) -> logits`; knows nothing of models, words or HTTP.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast
from weakref import WeakKeyDictionary

import structlog

from engine.backends.base import StepBackend
from engine.batch import Batch, Work, narrow, stumbled
from engine.jobs import Started
from engine.lane import Lane
from engine.pace import Pace

# Prompt tokens that may join at one step: more would hold up the running rows, and the heartbeat.
PROMPT_TOKENS_PER_STEP = 256
# Drafts are compared as long as all of them are written in so many seconds. Of the second half each job has
# its part only, so that in company those who come next find room, and more stories are streamed.
WHOLE_SECONDS = 1.0
# Share of its tokens that a job's longest draft takes, before any was seen; then it is learned.
EXPECTED = 0.5
# Numbers of drafts that a job can get.
DRAFTS = (32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
# Shares of the rows that a second job of one person, or of one group, leaves to others.
LEFT_BY_PERSON = 1 / 4
LEFT_BY_GROUP = 1 / 8
# One person and one group at a time can have that many rows, the person in a group and alone.
MOST_SKIPS = 4
# Rows that one replica steps faster than two, which have to wake each other's threads.
TOGETHER = 12

_log = structlog.get_logger("engine")


class Scheduler(Lane):
    """The decoding thread of all step backends."""

    def __init__(self, *, max_rows: int, max_waiting: int, name: str = "decoding") -> None:
        super().__init__(max_waiting=max_waiting, name=name)
        self._max_rows = max_rows
        self._batches: dict[StepBackend, list[Batch]] = {}
        self._paces: WeakKeyDictionary[StepBackend, Pace] = WeakKeyDictionary()
        self._begun: list[Work] = []
        self._expected = EXPECTED

    @property
    def running_rows(self) -> int:
        """Number of rows being decoded."""
        return sum(map(len, self._all()))

    def _all(self) -> list[Batch]:
        return [batch for batches in list(self._batches.values()) for batch in batches]

    def _release(self) -> None:
        for batch in self._all():
            batch.reap()
        for work in self._begun:
            if work.ended and work.results:
                needed = max(len(row.tokens) for row in work.results) / work.job.max_new_tokens
                self._expected += 0.1 * (needed - self._expected)
        self._begun = [work for work in self._begun if not work.over]

    def _turn(self) -> bool:
        self._admit()
        self._tell_positions()
        busy = [batch for batch in self._all() if len(batch)]
        for batch in busy:
            if not batch.under_way:
                batch.launch(alone=len(busy) == 1)
        beside = [batch for batch in busy if batch.beside]
        due = [batch for batch in busy if not batch.beside]
        # While one computes on its thread, the tokens of the one launched before it are drawn on ours.
        due += [min(beside, key=lambda batch: batch.launched)] if beside else []
        for batch in due:
            self._collect(batch)
        self._batches = {key: batches for key, batches in self._batches.items() if any(map(len, batches))}
        return bool(busy)

    def _collect(self, batch: Batch) -> None:
        rows, joining = len(batch), batch.joining
        try:
            batch.collect()
        except Exception as error:
            _log.exception("drawing tokens failed", rows=rows)
            batch.fail_all(error)
        if not joining:
            self._paces[batch.backend].note(rows, time.monotonic() - batch.launched)

    def _admit(self) -> None:
        """Give rows to those in line, a turn each; a job that can't have all its rows yet stays in line."""
        room, skips = PROMPT_TOKENS_PER_STEP, 0
        if self.running_rows == self._max_rows and not any(map(_flexible, self._begun)):
            return
        while room > 0 and skips < MOST_SKIPS:
            with self._changed:
                work = self._waiting.peek()
            if work is None:
                return
            most = self._most(work)
            if most > 0 and not work.started:
                self._share_out(work)
            free = self._max_rows - self.running_rows
            if not free:
                return
            count = self._count(work, min(free, most))
            with self._changed:
                if work.over or work.started + count == work.rows:
                    self._waiting.pop()
                else:
                    self._waiting.skip()
            if count:
                room -= len(work.job.prompt)
                self._begin(work, count)
            else:
                skips += 1

    def _count(self, work: Work, most: int) -> int:
        """Return how many rows a job gets now, at most so many; some are left to those behind it."""
        if work.over or most <= 0:
            return 0
        if work.rows is None:
            work.rows = min(most, self._share(work))
        return min(work.rows - work.started, max(1, most // len(self._waiting)))

    def _begin(self, work: Work, count: int) -> None:
        if not work.started:
            work.began = time.monotonic()
            self._begun.append(work)
            work.emit(Started(work.rows or count))
        batches = self._batches_of(cast(StepBackend, work.job.backend))
        parts = Counter(_least_filled(batches, count))
        try:
            for place, part in sorted(parts.items()):
                batches[place].add(work, part)
        except Exception as error:
            _log.exception("planning rows failed", rows=count)
            work.fail(stumbled(error))

    def _most(self, work: Work) -> int:
        """Return how many rows more a job may have, so that one person or group never holds all of them."""
        most, job = self._max_rows, work.job
        others = [other for other in self._begun if other is not work and not other.over]
        of_person = sum(other.running for other in others if other.job.person == job.person)
        of_group = sum(other.running for other in others if other.job.group == job.group)
        if job.person is not None and of_person:
            most = min(most, int(self._max_rows * (1 - LEFT_BY_PERSON)) - of_person - work.running)
        if job.group is not None and of_group:
            most = min(most, int(self._max_rows * (1 - LEFT_BY_GROUP)) - of_group - work.running)
        return most

    def _share(self, work: Work) -> int:
        """Return how many rows each job that leaves it to us can have now, those in line too."""
        running = [other for other in self._begun if not other.over]
        held = sum(other.running for other in running if not _flexible(other))
        sharing = len(self._waiting) + sum(map(_flexible, running))
        seconds = WHOLE_SECONDS * (0.5 + 0.5 / (len(running) + len(self._waiting)))
        batches = self._batches_of(cast(StepBackend, work.job.backend))
        pace = self._paces[batches[0].backend]
        of_one = pace.rows_within(seconds / (self._expected * work.job.max_new_tokens))
        fit = min(self._max_rows, len(batches) * of_one)
        return next((rows for rows in DRAFTS if rows <= (fit - held) / sharing), 1)

    def _share_out(self, work: Work) -> None:
        """Take from running jobs the rows that are above everybody's share."""
        share = self._share(work)
        for other in self._begun:
            if _flexible(other) and not other.over and other.running > share:
                narrow(other, share, self._batches_of(cast(StepBackend, other.job.backend)))

    def _batches_of(self, backend: StepBackend) -> list[Batch]:
        """Return the batches of a backend, one for each of its replicas; these have one pace."""
        if backend not in self._batches:
            members = getattr(backend, "members", (backend,))
            pace = next((self._paces[member] for member in members if member in self._paces), Pace())
            self._paces.update(dict.fromkeys(members, pace))
            self._batches[backend] = [Batch(member) for member in members]
        return self._batches[backend]


def _least_filled(batches: Sequence[Batch], count: int) -> Iterator[int]:
    """Yield for each of `count` rows the batch that it joins: few stay together, many are shared evenly."""
    sizes = list(map(len, batches))
    for _ in range(count):
        place = 0 if sizes[0] < TOGETHER else sizes.index(min(sizes))
        sizes[place] += 1
        yield place


def _flexible(work: Work) -> bool:
    """Whether a job's number of drafts is ours to choose: nobody named it, and several are under way."""
    return work.job.rows is None and (work.rows or 0) > 1
