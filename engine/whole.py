"""The lane of texts that can't be stepped (beams, encoder-decoder models): one job after another.

A thread of its own, so that it never stalls the rows of the scheduler. Knows no models.
"""

from __future__ import annotations

import time
from typing import cast

from engine.backends.base import WholeBackend, WholeJob
from engine.batch import Work, stumbled
from engine.errors import EngineError
from engine.jobs import Started
from engine.lane import IDLE_SECONDS, LOG, Lane

WHOLE_ROWS = 2


class WholeLane(Lane):
    """The thread of all whole backends."""

    def __init__(self, *, max_waiting: int, name: str = "whole texts") -> None:
        super().__init__(max_waiting=max_waiting, name=name)
        self._current: Work | None = None

    @property
    def running_rows(self) -> int:
        """Number of drafts of the text being written."""
        return (self._current.rows or 0) if self._current else 0

    def _turn(self) -> bool:
        with self._changed:
            work = self._waiting.peek()
            if work is None:
                return False
            self._waiting.pop()
        if work.over:
            return True
        self._tell_positions()
        work.rows = work.rows or WHOLE_ROWS
        work.began = time.monotonic()
        work.emit(Started(work.rows))
        self._current = work
        try:
            self._write(work)
        except EngineError as error:
            work.fail(error)
        except Exception as error:
            LOG.exception("writing a text failed")
            work.fail(stumbled(error))
        finally:
            self._current = None
        return True

    def _write(self, work: Work) -> None:
        job = work.job
        assert work.rows is not None
        whole = WholeJob(
            prompt=job.prompt,
            plans=[job.plan(index) for index in range(work.rows)],
            max_new_tokens=job.max_new_tokens,
            end_ids=job.end_ids,
            num_beams=job.num_beams,
            stop=lambda: self._should_stop(work),
        )
        results = cast(WholeBackend, job.backend).generate(whole)
        if not self._should_stop(work):
            work.started, work.results = work.rows, results
            work.finish_if_done()

    def _should_stop(self, work: Work) -> bool:
        """Asked between steps: whether to write no more; waits as long as the lane is paused."""
        with self._changed:
            while self._paused and not self._gone(work):
                self._changed.wait(timeout=IDLE_SECONDS)
            return self._gone(work)

    def _gone(self, work: Work) -> bool:
        self._beat = time.monotonic()
        return work.over or self._stopped or self._beat > work.job.deadline
