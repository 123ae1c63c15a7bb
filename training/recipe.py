"""Recipes: the TOML files that fix tokenizer, model, mix and rates. Knows nothing of how they are run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Schedule = Literal["constant", "linear", "wsd"]


class RecipeError(ValueError):
    """A recipe, or an override of one, says something that can't be."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TokenizerRecipe(_Strict):
    """Number of ids, control tokens included."""

    vocabulary: int = Field(ge=320, le=65_536)


class ModelRecipe(_Strict):
    """Shape of the Llama layout; the head size is hidden_size / num_attention_heads."""

    hidden_size: int = Field(ge=8)
    intermediate_size: int = Field(ge=8)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    context: int = Field(ge=32, le=8192)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.num_attention_heads or self.hidden_size // self.num_attention_heads % 2:
            raise ValueError("hidden_size / num_attention_heads must be an even whole number")
        return self


class WordShares(_Strict):
    """Where a story's word condition comes from: the words it was written for, words of its storyline, or
    content words of it at random. The shares are relative to one another."""

    own: float = Field(ge=0)
    storyline: float = Field(ge=0)
    random: float = Field(ge=0)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.own + self.storyline + self.random <= 0:
            raise ValueError("one of own, storyline and random must be more than 0")
        return self


class StageRecipe(_Strict):
    """One stage of training.

    `schedule` is what the rate does after `warmup_steps`: constant, falling linearly to zero over `tokens`,
    or wsd (warm-up, stable, decay): constant, then falling linearly to zero over the last `decay_share` of
    `tokens`. When it is not given, a stage with `tokens` is linear and one without is constant.
    """

    batch_tokens: int = Field(ge=64)
    muon_lr: float = Field(gt=0)
    adam_lr: float = Field(gt=0)
    weight_decay: float = Field(0.1, ge=0)
    warmup_steps: int = Field(0, ge=0)
    ema: float = Field(ge=0, lt=1)
    tokens: int | None = Field(None, ge=1)
    schedule: Schedule | None = None
    decay_share: float = Field(0.2, gt=0, le=1)
    mix: dict[str, float]
    words: WordShares | None = None

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.schedule is None:
            self.schedule = "constant" if self.tokens is None else "linear"
        if self.schedule != "constant" and self.tokens is None:
            raise ValueError(f"schedule {self.schedule} needs tokens, the length that the rate falls over")
        if "decay_share" in self.model_fields_set and self.schedule != "wsd":
            raise ValueError("decay_share belongs to schedule wsd")
        return self


class Recipe(_Strict):
    """Everything that fixes a training run but the data and the machine."""

    family: str
    seed: int
    tokenizer: TokenizerRecipe
    model: ModelRecipe
    pretrain: StageRecipe
    finetune: StageRecipe

    def stage(self, name: Literal["pretrain", "finetune"]) -> StageRecipe:
        """Return the recipe of a stage."""
        return self.pretrain if name == "pretrain" else self.finetune


def recipe_text(name_or_path: str) -> str:
    """Return a TOML file by name (from this package) or path. Raises FileNotFoundError."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path.read_text(encoding="utf-8")
    resource = files("training") / "recipes" / f"{name_or_path}.toml"
    if not resource.is_file():
        raise FileNotFoundError(f"no recipe called {name_or_path}")
    return resource.read_text(encoding="utf-8")


def parse_override(text: str) -> tuple[str, Any]:
    """Split `finetune.muon_lr=0.003` into a dotted name and a value read as TOML; `none` unsets.

    Text that is no TOML value is taken as a string. Raises RecipeError without a name or a "=".
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not all(name.split(".")):
        raise RecipeError(f"{text!r} is not NAME=VALUE, such as finetune.muon_lr=0.003")
    if value.lower() == "none":
        return name, None
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return name, value
    return name, parsed["value"] if len(parsed) == 1 else value


def load_recipe(
    name_or_path: str, overrides: Sequence[str] = (), *, values: Mapping[str, Any] | None = None
) -> Recipe:
    """Load a recipe by name (from this package) or path, with values put in their places.

    `overrides` are texts such as `finetune.muon_lr=0.003`; `values` the same by dotted name, applied first.
    Raises FileNotFoundError without such a recipe, RecipeError with a line for each value that can't be.
    """
    try:
        data = tomllib.loads(recipe_text(name_or_path))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {name_or_path} is no TOML: {error}") from error
    for name, value in [*(values or {}).items(), *(parse_override(text) for text in overrides)]:
        _put(data, name, value)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"recipe {name_or_path}: {explain(error)}") from error


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    table: Any = data
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{name}: {part} is a value, not a table")
    table[last] = value


def explain(error: ValidationError) -> str:
    """Return what pydantic found in one line: dotted names, each with its fault."""
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        what = fault["msg"].removeprefix("Value error, ")
        what = "there is no such value" if fault["type"] == "extra_forbidden" else what
        faults.append(f"{where}: {what}" if where else what)
    return "; ".join(faults)
