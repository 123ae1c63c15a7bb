"""Settings of the training room, from the environment and `.env`. Knows nothing of recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    data: Path | None = Field(None, description="prepared documents; data/ in the folder when not set")
    meaning: bool = Field(
        True, description="label genre and storyline while preparing, which needs embeddings"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; every core when not set")
    compile: bool | None = Field(
        None, description="compile the network; when not set, on a CPU with a C++ compiler and not on a GPU"
    )
    save_seconds: float = Field(300, gt=0, description="time between checkpoints")
    evaluate_seconds: float = Field(1200, gt=0, description="time between held-out figures")
    mirror: str | None = Field(
        None, description="URL (file://, s3://, gs://) that checkpoints and logs are copied to"
    )
    mirror_options: dict[str, Any] = Field(
        default_factory=dict, description="options of the mirror's file system, as JSON (fsspec)"
    )
