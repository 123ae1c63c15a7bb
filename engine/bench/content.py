"""How well the content filter tells unsuitable from suitable: hits and false alarms on our labelled set.

The set (tests/engine/content_labels.jsonl) stands beside the code in a checkout, not in an installed
package. Each "round" of rows was written, measured once, and then used to better the lists: for text that
is new to the lists, expect the first measures that docs/content-filter.md keeps. Knows nothing of models.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.content import ContentFilter

LABELS = Path(__file__).resolve().parents[2] / "tests" / "engine" / "content_labels.jsonl"
MODES = ("normal", "strict")
ROUNDS = (1, 2, 3, 4)


def read_labels(path: Path = LABELS) -> list[dict[str, Any]]:
    """Return the labelled rows: text, kind (word, text), language, a label for each mode, shown_by, round.

    `shown_by` is "meaning" where no single word or phrase gives the text away.

    Raises FileNotFoundError when the set is not there.
    """
    with path.open(encoding="utf-8") as lines:
        return [json_module.loads(line) for line in lines if line.strip()]


def _judge(content: ContentFilter, row: dict[str, Any], mode: str) -> bool:
    strict = mode == "strict"
    if row["kind"] == "word":
        return content.check_words([row["text"]], strict) is not None
    return content.check_text(row["text"], strict) is not None


def _measure(content: ContentFilter, rows: Iterable[dict[str, Any]], mode: str) -> dict[str, Any]:
    unsuitable = suitable = 0
    missed: list[str] = []
    alarms: list[str] = []
    for row in rows:
        found = _judge(content, row, mode)
        if row[mode] == "unsuitable":
            unsuitable += 1
            missed += [] if found else [row["text"]]
        else:
            suitable += 1
            alarms += [row["text"]] if found else []
    return {
        "unsuitable": unsuitable,
        "hits": unsuitable - len(missed),
        "hit_rate": round(1 - len(missed) / unsuitable, 4) if unsuitable else None,
        "suitable": suitable,
        "false_alarms": len(alarms),
        "false_alarm_rate": round(len(alarms) / suitable, 4) if suitable else None,
        "missed": missed,
        "alarms": alarms,
    }


def content_figures(path: Path = LABELS) -> dict[str, Any]:
    """Return the figures by mode and part of the set: counts, rates (0..1), and the rows judged wrongly."""
    rows = read_labels(path)
    content = ContentFilter()
    groups = {
        "all": rows,
        "words": [row for row in rows if row["shown_by"] == "words"],
        **{code: [row for row in rows if row["language"] == code] for code in ("en", "ru", "zh")},
        **{f"round {number}": [row for row in rows if row["round"] == number] for number in ROUNDS},
    }
    return {
        mode: {name: _measure(content, part, mode) for name, part in groups.items() if part} for mode in MODES
    }


def content(
    json: Annotated[bool, typer.Option("--json", help="Print one object with every figure.")] = False,
) -> None:
    """Measure the content filter on the labelled set: hits, false alarms, and every row judged wrongly."""
    try:
        figures = content_figures(LABELS)
    except FileNotFoundError as error:
        typer.echo(f"The labelled set is not here ({error.filename}): run this in a checkout.", err=True)
        raise typer.Exit(1) from error
    if json:
        typer.echo(json_module.dumps(figures, ensure_ascii=False))
        return
    for mode, parts in figures.items():
        for name, part in parts.items():
            hits = f"{part['hits']:>4}/{part['unsuitable']:<4} {part['hit_rate']:>7.1%}"
            alarms = f"{part['false_alarms']:>3}/{part['suitable']:<4} {part['false_alarm_rate']:>7.1%}"
            typer.echo(f"{mode:7} {name:7} hits {hits}   false alarms {alarms}")
        for text in parts["all"]["missed"]:
            typer.echo(f"        missed: {text}")
        for text in parts["all"]["alarms"]:
            typer.echo(f"        false alarm: {text}")
