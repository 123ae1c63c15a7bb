"""An engine in a child process: started once, asked for waves of stories, its memory read after each.

The functions below the class run in the child. Knows nothing of what the stories are for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from typing import Any, cast

from engine.bench.engines.base import About, Contender, Setup, Task, Wave, Way

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_contender: Contender | None = None


class Child:
    """A process with one engine in it, `kind` being "module:Class" below `engine.bench.engines`.

    Loading begins at once. Every method raises what the engine raises, and BrokenProcessPool when it died.
    """

    def __init__(self, kind: str, setup: Setup) -> None:
        self._pool = alone()
        self._begun = self._pool.submit(_begin, kind, setup)

    def about(self) -> About:
        """Return what the engine says of itself, once loaded. Raises NotInstalled without its library."""
        return self._begun.result()

    def write(self, way: str, tasks: Sequence[Task], seconds: float) -> Wave:
        """Have stories written by the engine's method `way` (see `Way`), all asked for at once."""
        self._begun.result()
        return self._pool.submit(_write, way, list(tasks), seconds).result()

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenProcessPool):
            self._pool.submit(_end)
        self._pool.shutdown()


def alone() -> ProcessPoolExecutor:
    """Return a pool of one fresh process: no thread pool and no memory of this one is shared."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def limit_threads(threads: int) -> None:
    """Give every thread pool loaded from now on so many threads that sleep while they wait."""
    os.environ.update(dict.fromkeys(POOLS, str(threads)))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _begin(kind: str, setup: Setup) -> About:
    global _contender
    limit_threads(setup.threads)
    module, name = kind.split(":")
    contender = cast(Any, getattr(import_module(f"engine.bench.engines.{module}"), name))(setup)
    _contender = cast(Contender, contender)
    return _contender.about


def _write(way: str, tasks: Sequence[Task], seconds: float) -> Wave:
    import psutil

    write: Way = getattr(_contender, way)
    began, busy = time.perf_counter(), time.process_time()
    written = write(tasks, seconds)
    passed, busy = time.perf_counter() - began, time.process_time() - busy
    return Wave(tuple(written), passed, busy, psutil.Process().memory_info().rss / 2**20)


def _end() -> None:
    global _contender
    if _contender is not None:
        _contender.close()
    # Some libraries abort when their threads outlive the interpreter.
    _contender = None
