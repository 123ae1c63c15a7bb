"""Settings of the training room, from the environment and `.env`. Knows nothing of recipes."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_dir
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TrainingSettings(BaseSettings):
    """Where training reads and writes; every name has the prefix WORDTALE_TRAINING_."""

    model_config = SettingsConfigDict(env_prefix="WORDTALE_TRAINING_", env_file=".env", extra="ignore")

    corpus: Path = Field(Path("corpus"), description="folder with the source texts")
    folder: Path = Field(
        Path(user_data_dir("wordtale")) / "training", description="prepared data, tokenizer, checkpoints"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; every core when not set")
    compile: bool = Field(True, description="compile the network where there is a C++ compiler")
    save_seconds: float = Field(300, gt=0, description="time between checkpoints")
    evaluate_seconds: float = Field(1200, gt=0, description="time between held-out figures")
