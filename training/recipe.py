"""Recipes: the TOML files that fix tokenizer, model, mix and rates. Knows nothing of how they are run."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TokenizerRecipe(_Strict):
    """Number of ids, control tokens included."""

    vocabulary: int = Field(ge=320, le=65_536)


class ModelRecipe(_Strict):
    """Shape of the Llama layout; the head size is hidden_size / num_attention_heads."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    context: int = Field(ge=32, le=8192)


class StageRecipe(_Strict):
    """One stage of training. Without `tokens` it runs until it is stopped, at a constant rate after warm-up;
    with `tokens` the rate falls linearly to zero over them."""

    batch_tokens: int = Field(ge=64)
    muon_lr: float = Field(gt=0)
    adam_lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    ema: float = Field(ge=0, lt=1)
    tokens: int | None = None
    mix: dict[str, float]


class Recipe(_Strict):
    """Everything that fixes a training run but the data and the machine."""

    family: str
    seed: int
    tokenizer: TokenizerRecipe
    model: ModelRecipe
    pretrain: StageRecipe
    finetune: StageRecipe


def load_recipe(name_or_path: str) -> Recipe:
    """Load a recipe by name (from this package) or path. Raises FileNotFoundError or ValidationError."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        text = path.read_text(encoding="utf-8")
    else:
        resource = files("training") / "recipes" / f"{name_or_path}.toml"
        if not resource.is_file():
            raise FileNotFoundError(f"no recipe called {name_or_path}")
        text = resource.read_text(encoding="utf-8")
    return Recipe.model_validate(tomllib.loads(text))
