"""How long decoding steps take, learned while they are taken, and how many rows fit into a given time.

Knows rows and seconds; nothing of jobs, people or models.
"""

from __future__ import annotations

# What a step counts for, against the one after it: the pace is that of about the last hundred steps.
MEMORY = 0.99
# A step costs as much as it would with so many more rows at no fixed cost, until steps of several sizes tell.
FIXED_ROWS = 4.0
# A single slow step (the machine was busy with something else) counts as no more than so many usual ones.
OUTLIER = 4.0
# Rows must differ by about so much (as a variance) before a slope is read from them.
LEAST_VARIANCE = 4.0


class Pace:
    """Seconds of a step as `fixed + by_row * rows`, by least squares over past steps that fade away."""

    def __init__(self) -> None:
        self._weight = self._rows = self._rows2 = self._seconds = self._both = 0.0

    def note(self, rows: int, seconds: float) -> None:
        """Take note of a step."""
        if self._weight:
            fixed, by_row = self._line()
            seconds = min(seconds, OUTLIER * (fixed + by_row * rows))
        self._weight = MEMORY * self._weight + 1.0
        self._rows = MEMORY * self._rows + rows
        self._rows2 = MEMORY * self._rows2 + rows * rows
        self._seconds = MEMORY * self._seconds + seconds
        self._both = MEMORY * self._both + rows * seconds

    def rows_within(self, seconds: float) -> float:
        """Return how many rows a step of so many seconds can have; infinite before any step was seen."""
        if not self._weight:
            return float("inf")
        fixed, by_row = self._line()
        return max(0.0, seconds - fixed) / by_row

    def _line(self) -> tuple[float, float]:
        rows, seconds = self._rows / self._weight, self._seconds / self._weight
        variance = self._rows2 / self._weight - rows * rows
        plain = max(seconds, 1e-9) / (rows + FIXED_ROWS)
        if variance < LEAST_VARIANCE:
            return FIXED_ROWS * plain, plain
        by_row = (self._both / self._weight - rows * seconds) / variance
        if not 0 < by_row * rows <= seconds:
            return FIXED_ROWS * plain, plain
        return seconds - by_row * rows, by_row
