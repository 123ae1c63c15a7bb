"""A run as people read it: a table in the terminal, Markdown between two marks of a file.

Knows the report's keys; nothing of how figures are measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BEGIN, END = "<!-- bench engine: begin -->", "<!-- bench engine: end -->"

COLUMNS: tuple[tuple[str, str], ...] = (
    ("requests", "requests"),
    ("engine", "engine"),
    ("tokens_per_s", "tokens/s"),
    ("cpu_us_per_token", "CPU µs/token"),
    ("first_text_p50_ms", "first text p50"),
    ("first_text_p95_ms", "p95, ms"),
    ("story_p50_ms", "story p50"),
    ("story_p95_ms", "p95, ms"),
    ("rss_mb", "MB"),
    ("bandwidth_share", "of bandwidth"),
    ("compute_share", "of compute"),
)
SHARES = ("bandwidth_share", "compute_share")


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print targets and table."""
    for line in (_head(report), *_notes(report)):
        console.print(line, markup=False, highlight=False)
    console.print(_rich("Targets", ("figure", "found", "target", "reached"), _target_lines(report)))
    console.print(_rich("Engines", [title for _, title in COLUMNS], _lines(report)))


def markdown(report: Mapping[str, Any]) -> str:
    """Return the same as Markdown."""
    parts = [
        _head(report),
        *_notes(report),
        _markdown(("figure", "found", "target", "reached"), _target_lines(report)),
        _markdown([title for _, title in COLUMNS], _lines(report)),
    ]
    return "\n\n".join(parts)


def write_between_marks(path: Path, text: str) -> None:
    """Put `text` between the two marks of a Markdown file. Raises ValueError when it has none."""
    path.write_text(between_marks(path, text), encoding="utf-8")


def between_marks(path: Path, text: str) -> str:
    """Return a file's text with `text` between its two marks. Raises ValueError when it has none."""
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _head(report: Mapping[str, Any]) -> str:
    run, machine = report["run"], report["machine"]
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{run['model']} {run['version']}, {run['parameters'] / 1e6:.1f} M parameters, ours on "
        f"{run['backend']}, on "
        f"{machine.get('gpu') or machine['processor']}{flags}, {machine['threads']} threads of "
        f"{machine['cores']} cores; {versions}. Median of {run['rounds']} interleaved rounds, {run['when']}."
    )


def _notes(report: Mapping[str, Any]) -> list[str]:
    machine, limits = report["machine"], report.get("limits")
    notes = []
    if machine["load_1_min"] is not None and machine["load_1_min"] > 1:
        notes.append(
            f"Other programs were busy (load {machine['load_1_min']} at the start): all speeds are too low."
        )
    if limits:
        sizes = ", ".join(f"{speed:.1f} GB/s from {mb} MB" for mb, speed in limits["read_gb_s"].items())
        notes.append(
            f"Limits measured in the same run: reading {sizes}; products {limits['gflop_s']:.0f} GFLOP/s."
        )
    if any(served["torch"] for served in report["served"]):
        notes.append("The served engine has torch loaded.")
    notes += [f"{name}: {why}" for name, why in report["missing"].items()]
    return notes


def _target_lines(report: Mapping[str, Any]) -> list[list[str]]:
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    return [
        [row["what"], _number(row["found"]), row["target"], words[row["reached"]]]
        for row in report["targets"]
    ]


def _lines(report: Mapping[str, Any]) -> list[list[str]]:
    return [[_cell(key, row.get(key)) for key, _ in COLUMNS] for row in report["rows"]]


def _cell(key: str, value: Any) -> str:
    if key in SHARES and value is not None:
        return f"{value:.0%}"
    return value if isinstance(value, str) else _number(value)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:g}"


def _rich(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        words = any(line[place][:1].isalpha() for line in lines)
        table.add_column(column, justify="left" if words else "right")
    for line in lines:
        table.add_row(*line)
    return table


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---" if any(line[i][:1].isalpha() for line in lines) else "---:" for i in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *lines))
