"""The scorecard as one picture: a small panel a figure, a dot for each model, people and spoilt stories.

Knows nothing of how figures are taken.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

from training.scorecard.result import Column, Row, Scorecard, Value
from training.scorecard.table import shown

PANELS_A_ROW = 4
PEOPLE_COLOUR = "#3a3a3a"
MODEL_COLOURS = ("#0b6fb8", "#e07b00")
SPOILT_COLOURS = ("#b5364f", "#8c5fb0", "#4c9a6a", "#a68a2d", "#5f7f8c", "#c46ba8")
BEST = {"more": "more is better →", "less": "← less is better", "people": "people are the measure"}


def draw(card: Scorecard, path: Path) -> None:
    """Write the picture as PNG. Figures that nobody has a value for are left out."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in card.rows if any(_value(column, row) for column in card.columns)]
    lines = max(1, ceil(len(rows) / PANELS_A_ROW))
    height = 0.55 + 0.24 * len(card.columns)
    figure, axes = pyplot.subplots(
        lines, PANELS_A_ROW, figsize=(15, (height + 0.62) * lines + 0.9), squeeze=False
    )
    for place, axis in enumerate(axes.flat):
        if place < len(rows):
            _panel(axis, card, rows[place], named=place % PANELS_A_ROW == 0)
        else:
            axis.set_visible(False)
    models = " against ".join(f"{c.name} {c.version}" for c in card.columns if c.kind == "model")
    figure.suptitle(
        f"{models}: {card.requests} requests of the frozen suite, beside people's held-out stories "
        "(whiskers: 95 % intervals)",
        fontsize=13,
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _value(column: Column, row: Row) -> Value | None:
    value = column.figures.get(row.key)
    return value if value is not None and value.value is not None else None


def _colours(card: Scorecard) -> list[str]:
    models, others = iter(MODEL_COLOURS * len(card.columns)), iter(SPOILT_COLOURS * len(card.columns))
    return [
        PEOPLE_COLOUR if c.kind == "people" else next(models) if c.kind == "model" else next(others)
        for c in card.columns
    ]


def _panel(axis: Any, card: Scorecard, row: Row, *, named: bool) -> None:
    """Draw one figure: a line a column, its dot with whiskers, its value at the right edge."""
    count = len(card.columns)
    people = card.people
    reference = _value(people, row) if people else None
    if reference is not None:
        axis.axvline(reference.value, color=PEOPLE_COLOUR, linewidth=0.8, alpha=0.35, zorder=0)
    for number, (column, colour) in enumerate(zip(card.columns, _colours(card), strict=True)):
        value, y = _value(column, row), count - 1 - number
        if value is not None:
            marker = "D" if column.kind == "people" else "o"
            axis.errorbar(
                value.value, y, xerr=value.error or 0, fmt=marker, color=colour, markersize=6, elinewidth=1.6
            )
        axis.annotate(
            shown(row, value),
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
            color=colour,
        )
    axis.set_title(row.title, fontsize=10, loc="left", pad=4, fontweight="bold")
    axis.set_xlabel(BEST[row.better], fontsize=7.5, color="#777777", labelpad=1)
    axis.set_ylim(-0.7, count - 0.3)
    names = [column.name for column in card.columns][::-1]
    axis.set_yticks(range(count), names if named else [""] * count, fontsize=8.5)
    _scale(axis, card, row)
    axis.tick_params(axis="x", labelsize=7.5, length=2)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.grid(axis="x", linewidth=0.4, alpha=0.5)


def _scale(axis: Any, card: Scorecard, row: Row) -> None:
    """Set the limits: a share stays within 0 and 100 %, every panel has room around its dots."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    values = [value for column in card.columns if (value := _value(column, row))]
    low = min((v.value or 0) - (v.error or 0) for v in values)
    high = max((v.value or 0) + (v.error or 0) for v in values)
    room = 0.12 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - room, high + room
    if row.share:
        low, high = max(low, -0.02), min(high, 1.02)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(MaxNLocator(4))
