"""From waves to figures: tokens a second, waiting times, the share of the machine's limits, the ratios.

Pure: knows nothing of processes or of how a table looks.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from engine.bench.engines.base import Wave, Written
from engine.bench.engines.limits import Limits, Shape
from engine.bench.engines.race import BATCHED, BEST_OF, BY_LOAD, CT2_INT8, OURS, SEQUENTIAL, Outcome
from engine.bench.engines.served import Served

# Measured twice, the same engine differs by so much.
NOISE = 0.03
RATIOS = {
    "ratio_sequential_32": (SEQUENTIAL, 32),
    "ratio_batched_32": (BATCHED, 32),
    "ratio_ct2_int8_1": (CT2_INT8, 1),
    "ratio_ct2_int8_8": (CT2_INT8, 8),
    "ratio_ct2_int8_32": (CT2_INT8, 32),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A figure to reach: at least or below `value`."""

    key: str
    what: str
    at_least: float | None = None
    below: float | None = None

    def reached(self, found: float | None) -> bool | None:
        """Return whether it is reached, None when it wasn't measured."""
        if found is None:
            return None
        return found >= self.at_least if self.at_least is not None else found < (self.below or 0.0)

    @property
    def text(self) -> str:
        """The target as people read it."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"< {self.below:g}"


TARGETS = (
    Target("ratio_sequential_32", "32 requests: times as fast as transformers one at a time", at_least=30),
    Target("ratio_batched_32", "32 requests: times as fast as transformers batched", at_least=1),
    Target("ratio_ct2_int8_1", "1 request: times as fast as CTranslate2 int8", at_least=1),
    Target("ratio_ct2_int8_8", "8 requests: times as fast as CTranslate2 int8", at_least=1),
    Target("ratio_ct2_int8_32", "32 requests: times as fast as CTranslate2 int8", at_least=1),
    Target("first_text_p95_ms_32", "32 learners at once: first text, 95 %, ms", below=500),
    Target("story_p50_ms_1", "one learner: best of 8 drafts, median, ms", below=1000),
    Target("rss_mb", "memory of the engine process after stories, MB", below=1024),
    Target("cold_start_s", "process start to ready, s", below=10),
)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0..1) of the values don't exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def speed(waves: Sequence[Wave]) -> float:
    """Return tokens a second over waves done one after another; stories not begun don't count."""
    return sum(wave.tokens for wave in waves) / sum(wave.seconds for wave in waves)


def cpu(waves: Sequence[Wave]) -> float:
    """Return microseconds of computing a token, over all threads: hardly moved by what else is running."""
    return 1e6 * sum(wave.cpu_s for wave in waves) / max(1, sum(wave.tokens for wave in waves))


def table(outcome: Outcome, shape: Shape | None, limits: Limits | None) -> list[Row]:
    """Return a row for every engine and number of requests, in the order in which they were measured."""
    rows = []
    for (name, count), rounds in outcome.waves.items():
        row = _row(name, count, rounds)
        if name not in (BY_LOAD, BEST_OF) and shape is not None and limits is not None:
            row |= _distance(row, outcome, shape, limits)
        rows.append(row)
    return sorted(rows, key=lambda row: row["requests"])


def _row(name: str, count: int, rounds: Sequence[Sequence[Wave]]) -> Row:
    stories: list[Written] = [one for waves in rounds for wave in waves for one in wave.written]
    good = [one for one in stories if not one.failed]
    asked = count * sum(len(waves) for waves in rounds)
    speeds = [speed(waves) for waves in rounds]
    times: dict[str, float | None] = dict.fromkeys(
        ("first_text_p50_ms", "first_text_p95_ms", "story_p50_ms", "story_p95_ms")
    )
    if len(stories) == asked and good:
        times = {
            f"{what}_p{share}_ms": round(1000 * percentile(found, share / 100), 1)
            for what, found in (
                ("first_text", [one.first_s for one in good]),
                ("story", [one.total_s for one in good]),
            )
            for share in (50, 95)
        }
    return {
        "engine": name,
        "requests": count,
        "tokens_per_s": round(statistics.median(speeds), 1),
        "rounds_tokens_per_s": [round(value, 1) for value in speeds],
        "cpu_us_per_token": round(statistics.median(cpu(waves) for waves in rounds)),
        **times,
        "stories": len(good),
        "failed": len(stories) - len(good),
        "not_begun": asked - len(stories),
        "drafts_mean": round(statistics.mean(one.candidates for one in good), 1) if good else None,
        "rss_mb": round(max(wave.rss_mb for waves in rounds for wave in waves)),
    }


def _distance(row: Row, outcome: Outcome, shape: Shape, limits: Limits) -> Row:
    """Return what a token needs and which share of the machine's limits the row's speed is."""
    prompt = statistics.mean(len(task.prompt) for task in outcome.tasks)
    new = statistics.mean(task.tokens for task in outcome.tasks)
    together = 1 if row["engine"] == SEQUENTIAL else row["requests"]
    about = outcome.about[row["engine"]]
    needs = shape.bytes_per_token(about.weight_bytes, about.cache_bytes, together, prompt + new / 2)
    flops = shape.flops_per_token(prompt, new)
    size = megabytes(shape, about.weight_bytes)
    return {
        "bytes_per_token": round(needs),
        "flops_per_token": round(flops),
        "bandwidth_share": round(row["tokens_per_s"] * needs / 1e9 / limits.read_gb_s[size], 4),
        "compute_share": round(row["tokens_per_s"] * flops / 1e9 / limits.gflop_s, 4),
    }


def megabytes(shape: Shape, weight_bytes: float) -> int:
    """Return the size of the weights in whole MB, at least 1."""
    return max(1, round(shape.weights * weight_bytes / 2**20))


def figures(rows: Sequence[Row], served: Sequence[Served]) -> dict[str, float | None]:
    """Return the figures of the issue; None for what was not measured."""
    cells = {(row["engine"], row["requests"]): row for row in rows}
    found: dict[str, float | None] = {}
    for key, (other, count) in RATIOS.items():
        mine, theirs = cells.get((OURS, count)), cells.get((other, count))
        found[key] = round(mine["tokens_per_s"] / theirs["tokens_per_s"], 2) if mine and theirs else None
    found["first_text_p95_ms_32"] = cells.get((BY_LOAD, 32), {}).get("first_text_p95_ms")
    found["story_p50_ms_1"] = cells.get((BEST_OF, 1), {}).get("story_p50_ms")
    found["rss_mb"] = round(max(one.rss_mb for one in served), 1) if served else None
    starts = [one.cold_start_s for one in served]
    found["cold_start_s"] = round(statistics.median(starts), 2) if starts else None
    return found


def targets(found: Mapping[str, float | None], rows: Sequence[Row]) -> list[Row]:
    """Return each target with its figure and whether it is reached (None: not measured)."""
    listed = [
        {
            "key": target.key,
            "what": target.what,
            "found": found[target.key],
            "target": target.text,
            "reached": target.reached(found[target.key]),
        }
        for target in TARGETS
    ]
    speeds = [row["tokens_per_s"] for row in rows if row["engine"] == OURS]
    steps = [later / earlier for earlier, later in pairwise(speeds)]
    lowest = round(min(steps), 2) if steps else None
    listed.append(
        {
            "key": "lowest_step",
            "what": "tokens a second, each number of requests over the one before: lowest",
            "found": lowest,
            "target": f"≥ {1 - NOISE:g}",
            "reached": None if lowest is None else lowest >= 1 - NOISE,
        }
    )
    return listed
