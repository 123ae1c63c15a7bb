"""Variants of a training stage, trained in turn from the same weights and laid side by side.

Each variant has a folder of its own below the training folder, with its result in `result.json`; the table
stands in `ablations.md` and `ablations.json`. Knows nothing of how a stage is trained.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.config import TrainingSettings
from training.loop import Trainer
from training.recipe import Recipe, RecipeError, explain, load_recipe, recipe_text
from training.runs import data_folder, open_stage

RESULT = "result.json"
TABLE = "ablations"
Report = Callable[[str], None]
Train = Callable[[Trainer, TrainingSettings, int | None], None]


class Variant(BaseModel):
    """One way to train: overrides of recipe values by dotted name. `afresh` takes new weights and a tokenizer
    of its own instead of the weights that all others start from."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*")
    group: str = ""
    stage: Literal["pretrain", "finetune"] = "finetune"
    afresh: bool = False
    set: dict[str, Any] = Field(default_factory=dict)


class Plan(BaseModel):
    """Variants, the recipe they vary, and overrides that hold for all of them (`tokens` of a stage too)."""

    model_config = ConfigDict(extra="forbid")

    recipe: str = "storyteller"
    set: dict[str, Any] = Field(default_factory=dict)
    variant: list[Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Plan:
        names = [variant.name for variant in self.variant]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two variants are called {', '.join(twice)}")
        return self


class Result(BaseModel):
    """What came of a variant. `seconds` is training time, evaluations included; `epochs` how often each
    source was read; `bits_per_byte` of held-out documents by source."""

    name: str
    group: str
    stage: str
    changes: dict[str, Any]
    start: str
    parameters: int
    tokens: int
    seconds: float
    tokens_per_second: float
    epochs: dict[str, float]
    bits_per_byte: dict[str, float]


def load_plan(name_or_path: str) -> Plan:
    """Load a plan by name (from training/recipes) or path. Raises FileNotFoundError or RecipeError."""
    try:
        return Plan.model_validate(tomllib.loads(recipe_text(name_or_path)))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"plan {name_or_path} is no TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError(f"plan {name_or_path}: {explain(error)}") from error


def run_plan(
    name_or_path: str,
    settings: TrainingSettings,
    train: Train,
    report: Report,
    *,
    start: Path | None = None,
    only: Sequence[str] = (),
    tokens: int | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Train the plan's variants that are not done yet, in order, and write the table after each.

    `only` names variants or groups; `tokens` replaces the length of every variant. A stopped run goes on with
    the variant it was in. Raises FileNotFoundError without data, RecipeError for a variant that can't be,
    before any is trained, and what `open_stage` raises. Returns the table's path.
    """
    plan = load_plan(name_or_path)
    chosen = [v for v in plan.variant if not only or v.name in only or v.group in only]
    if not chosen:
        raise RecipeError(f"no variant or group is called {', '.join(only)}")
    recipes = {variant.name: _recipe(plan, variant, start, tokens, overrides) for variant in chosen}
    settings = settings.model_copy(update={"data": data_folder(settings).resolve()})
    for variant in chosen:
        result = _result(settings.folder / variant.name)
        wanted = {**plan.set, **variant.set}
        if result is not None and result.tokens >= (recipes[variant.name].stage(variant.stage).tokens or 0):
            if result.changes != wanted:
                raise RecipeError(f"{settings.folder / variant.name} was trained with {result.changes}")
            report(f"{variant.name}: done before")
            continue
        if not _train_variant(variant, recipes[variant.name], wanted, settings, train, report, start):
            report(f"{variant.name} was stopped; the same command goes on with it")
            break
        write_table(settings.folder, plan)
    return write_table(settings.folder, plan)


def _recipe(
    plan: Plan, variant: Variant, start: Path | None, tokens: int | None, overrides: Sequence[str]
) -> Recipe:
    values = {**plan.set, **variant.set}
    if tokens is not None:
        values[f"{variant.stage}.tokens"] = tokens
    try:
        recipe = load_recipe(plan.recipe, overrides, values=values)
    except RecipeError as error:
        raise RecipeError(f"variant {variant.name}: {error}") from error
    if recipe.stage(variant.stage).tokens is None:
        raise RecipeError(f"variant {variant.name} has no {variant.stage}.tokens, so it would never end")
    if start is None and not variant.afresh:
        raise RecipeError(f"variant {variant.name} starts from trained weights: give them with --from")
    return recipe


def _train_variant(
    variant: Variant,
    recipe: Recipe,
    changes: dict[str, Any],
    settings: TrainingSettings,
    train: Train,
    report: Report,
    start: Path | None,
) -> bool:
    """Train a variant to its end and write its result; False when it was stopped before."""
    folder = settings.folder / variant.name
    folder.mkdir(parents=True, exist_ok=True)
    own = settings.model_copy(update={"folder": folder})
    trainer = open_stage(
        own,
        variant.stage,
        lambda line: report(f"[{variant.name}] {line}"),
        recipe=recipe,
        start=None if variant.afresh else start,
    )
    try:
        train(trainer, own, None)
    finally:
        trainer.close()
    progress = trainer.progress
    if progress.tokens < (trainer.stage.tokens or 0):
        return False
    result = Result(
        name=variant.name,
        group=variant.group,
        stage=variant.stage,
        changes=changes,
        start="afresh" if variant.afresh else str(start),
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        tokens=progress.tokens,
        seconds=round(progress.seconds, 1),
        tokens_per_second=round(progress.tokens / max(progress.seconds, 1e-9), 1),
        epochs={name: round(value, 3) for name, value in trainer.stream.epochs().items()},
        bits_per_byte={name: round(value, 4) for name, value in progress.held_out.items()},
    )
    (folder / RESULT).write_text(result.model_dump_json(indent=1), encoding="utf-8")
    return True


def _result(folder: Path) -> Result | None:
    path = folder / RESULT
    return Result.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def write_table(folder: Path, plan: Plan) -> Path:
    """Write the results that are there as ablations.json and ablations.md; return the latter's path."""
    found = [_result(folder / variant.name) for variant in plan.variant]
    results = [result for result in found if result is not None]
    rows = [result.model_dump() for result in results]
    (folder / f"{TABLE}.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    sources = list(dict.fromkeys(name for result in results for name in result.bits_per_byte))
    heads = ["variant", "changes", "parameters", "tokens", "tokens/s", "seconds", *sources]
    lines = ["Held-out bits per byte by source, lower is better.", ""]
    for group in dict.fromkeys(result.group for result in results):
        lines += [f"## {group}", ""] if group else []
        lines += ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
        lines += ["| " + " | ".join(_cells(r, sources)) + " |" for r in results if r.group == group]
        lines.append("")
    path = folder / f"{TABLE}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _cells(result: Result, sources: Sequence[str]) -> list[str]:
    changes = ", ".join(f"{name}={json.dumps(value)}" for name, value in result.changes.items())
    figures = [f"{result.bits_per_byte[s]:.4f}" if s in result.bits_per_byte else "–" for s in sources]
    counts = [f"{result.parameters:,}", f"{result.tokens:,}"]
    return [
        result.name,
        changes,
        *counts,
        f"{result.tokens_per_second:,.0f}",
        f"{result.seconds:,.0f}",
        *figures,
    ]
