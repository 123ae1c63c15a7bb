"""The scorecard as a table for people to read. Knows nothing of how figures are taken."""

from __future__ import annotations

from rich.table import Table

from training.scorecard.result import FEWEST, Row, Scorecard, Value, compare

ARROWS = {"more": "↑", "less": "↓", "people": "≈"}
STYLES = {"better": "green", "worse": "red", "other": "yellow", "same": "", "unknown": ""}
MARKS = {"better": "+", "worse": "-", "other": "≠", "same": " ", "unknown": " "}


def shown(row: Row, value: Value | None) -> str:
    """Return a value as people read it: shares in per cent, – for none."""
    if value is None or value.value is None:
        return "–"
    if row.share:
        return f"{100 * value.value:.1f}%"
    if row.key == "copied_longest":
        return f"{value.value:.0f}"
    return f"{value.value:.2f}" if abs(value.value) >= 10 else f"{value.value:.3f}"


def spread(row: Row, value: Value | None) -> str:
    """Return half the 95 % interval of a value, in the same unit; below 10 stories their number instead."""
    if value is None or value.value is None or value.error is None:
        return ""
    if value.count < FEWEST:
        return f"n={value.count}"
    if row.share:
        return f"±{100 * value.error:.1f}"
    return f"±{value.error:.2f}" if abs(value.value) >= 10 else f"±{value.error:.3f}"


def table_of(card: Scorecard) -> Table:
    """Return a row a figure, a column for each model, people and spoilt stories.

    Each value has half its 95 % interval; +, - and ≠ say how it differs from people's beyond chance.
    """
    models = ", ".join(f"{c.name} {c.version}" for c in card.columns if c.kind == "model")
    table = Table(title=f"Scorecard: {models}, {card.requests} requests, seed {card.seed}")
    table.add_column("figure", no_wrap=True)
    table.add_column("best")
    for column in card.columns:
        table.add_column(column.name, justify="right", no_wrap=True)
    people = card.people
    for row in card.rows:
        cells = []
        for column in card.columns:
            value = column.figures.get(row.key)
            verdict = compare(row, value, people.figures.get(row.key) if people else None)
            if column is people:
                verdict = "same"
            text = f"{shown(row, value)} {spread(row, value)}{MARKS[verdict]}".rstrip()
            style = STYLES[verdict]
            cells.append(f"[{style}]{text}[/]" if style else text)
        table.add_row(row.title, ARROWS[row.better], *cells)
    return table


def markdown_of(card: Scorecard) -> str:
    """Return the same as Markdown, of models and people alone."""
    columns = [column for column in card.columns if column.kind != "spoilt"]
    lines = [
        "| figure | best | " + " | ".join(f"{c.name} {c.version}".strip() for c in columns) + " |",
        "| --- | :---: |" + " ---: |" * len(columns),
    ]
    for row in card.rows:
        values = [column.figures.get(row.key) for column in columns]
        cells = [f"{shown(row, value)} {spread(row, value)}".strip() for value in values]
        lines.append(f"| {row.title} | {ARROWS[row.better]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
