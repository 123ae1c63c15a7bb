"""The run as one picture: tokens a second and waiting times over the number of requests.

Knows the report's rows; nothing of how they are measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = ("#0b6fb8", "#6bb3e8", "#e07b00", "#b5364f", "#4c9a6a", "#8c5fb0", "#5f7f8c")
PANELS = (
    ("tokens_per_s", "tokens a second"),
    ("first_text_p95_ms", "first text, 95 %, ms"),
    ("story_p50_ms", "whole story, median, ms"),
)


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the picture as PNG. Raises ImportError without matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["engine"] for row in report["rows"]))
    counts = sorted({row["requests"] for row in report["rows"]})
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 4.8))
    for axis, (key, title) in zip(axes, PANELS, strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            points = [
                (row["requests"], row[key])
                for row in report["rows"]
                if row["engine"] == name and row[key] is not None
            ]
            if points:
                ours = name.startswith("ours")
                axis.plot(*zip(*points, strict=True), "o-", color=colour, lw=2.4 if ours else 1.2, label=name)
        axis.set(xscale="log", yscale="log", xlabel="requests at once", title=title)
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    run, machine = report["run"], report["machine"]
    figure.suptitle(f"{run['model']} {run['version']}, {machine['threads']} threads, {machine['processor']}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(names), frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
