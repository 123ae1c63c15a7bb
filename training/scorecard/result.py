"""The scorecard as a file: what was measured, on what, with which command. Knows nothing of how."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.scorecard.figures import Better, Figure
from training.scorecard.stories import Measured

SCHEMA = 1
FEWEST = 10
Verdict = Literal["better", "worse", "other", "same", "unknown"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Row(_Strict):
    """A figure's name and direction."""

    key: str
    title: str
    better: Better
    share: bool


class Value(_Strict):
    """A figure's value (None: not measured), the stories or sentences behind it, half its 95 % interval."""

    value: float | None
    count: int = 0
    error: float | None = None


class Column(_Strict):
    """Whose figures: a model's, people's, or people's stories spoilt on purpose."""

    name: str
    kind: Literal["model", "people", "spoilt"]
    stories: int
    version: str = ""
    family: str = ""
    parameters: int = 0
    weights_sha256: str = ""
    decoding: dict[str, float | int] = Field(default_factory=dict)
    seconds: float = 0.0
    refused: list[str] = Field(default_factory=list)
    figures: dict[str, Value] = Field(default_factory=dict)


class Scorecard(_Strict):
    """Everything that is needed to read the figures and to take them again."""

    schema_version: int = SCHEMA
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    command: str
    suite_sha256: str
    requests: int
    seed: int
    candidates: int | None
    judge: str
    held_out_sha256: str
    training_documents: int
    notes: list[str] = Field(default_factory=list)
    rows: list[Row] = Field(default_factory=list)
    columns: list[Column] = Field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the scorecard as JSON."""
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def short(self) -> dict[str, Any]:
        """Return how the first model was measured and its figures, JSON-able; {} without a model."""
        model = next((column for column in self.columns if column.kind == "model"), None)
        if model is None:
            return {}
        return {
            "command": self.command,
            "suite_sha256": self.suite_sha256,
            "requests": self.requests,
            "figures": {key: value.value for key, value in model.figures.items() if value.value is not None},
        }

    @property
    def people(self) -> Column | None:
        """The column of people's stories."""
        return next((column for column in self.columns if column.kind == "people"), None)


def row_of(figure: Figure) -> Row:
    """Return the row of a figure."""
    return Row(key=figure.key, title=figure.title, better=figure.better, share=figure.share)


def values_of(figures: dict[str, Measured]) -> dict[str, Value]:
    """Return measured figures as they are written, to six digits."""

    def rounded(number: float | None) -> float | None:
        return None if number is None else round(number, 6)

    return {
        key: Value(value=rounded(found.value), count=found.count, error=rounded(found.error))
        for key, found in figures.items()
    }


def compare(row: Row, value: Value | None, reference: Value | None) -> Verdict:
    """Say how a value stands to a reference: beyond the 95 % interval of their difference, or the same.

    "other" is a difference where neither way is better in itself. Unknown without intervals, and below
    10 stories or sentences, whose intervals are not to be trusted.
    """
    if value is None or reference is None or value.value is None or reference.value is None:
        return "unknown"
    if value.error is None or reference.error is None or min(value.count, reference.count) < FEWEST:
        return "unknown"
    difference = value.value - reference.value
    if difference**2 <= value.error**2 + reference.error**2:
        return "same"
    if row.better == "people":
        return "other"
    return "better" if (difference > 0) == (row.better == "more") else "worse"
