"""Settings of the engine process, from the environment (WORDTALE_ENGINE_…) and `.env`.

Knows nothing of models beyond their names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_THREADS = 2


class EngineSettings(BaseSettings):
    """Effective settings; every field can be set as WORDTALE_ENGINE_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="WORDTALE_ENGINE_", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    host: str = Field("127.0.0.1", description="address the engine listens on")
    port: int = Field(8766, ge=0, le=65535, description="port; 0 takes a free one")
    token: SecretStr | None = Field(None, description="bearer token that callers must show")
    models_dir: Path | None = Field(None, description="folder of added models")
    default_model: str = Field("storyteller", description="model used when a request names none")
    max_waiting: int = Field(64, ge=1, le=10_000, description="requests that may wait for a slot")
    max_rows: int = Field(64, ge=1, le=512, description="stories decoded together")
    threads: int | None = Field(None, ge=1, le=256, description="compute threads; empty = detect")
    deadline_seconds: float = Field(60.0, gt=0, le=3600, description="longest a story may take")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where models run")
    backend: Literal["auto", "onnx", "torch", "openai"] = Field(
        "auto", description="what decodes: auto takes onnx on the CPU where it can run the model"
    )
    backend_url: str | None = Field(
        None, validate_default=True, description="backend openai: where the completion server answers"
    )
    backend_token: SecretStr | None = Field(None, description="backend openai: key that the server asks for")
    backend_model: str | None = Field(
        None, description="backend openai: the server's name of the model; empty = the only one it has"
    )
    backend_dialect: Literal["auto", "openai", "vllm", "llamacpp", "transformers"] = Field(
        "auto", description="backend openai: kind of server; auto asks it"
    )
    backend_parallel: int | None = Field(
        None, ge=1, le=1024, description="backend openai: calls at a time; empty = by kind of server"
    )
    backend_drafts: int = Field(8, ge=1, le=32, description="backend openai: most drafts of one story")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("backend_url")
    @classmethod
    def _check_url(cls, url: str | None, others: ValidationInfo) -> str | None:
        if url is None:
            if others.data.get("backend") == "openai":
                raise ValueError("the backend openai needs it (http://host:port)")
            return None
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
            raise ValueError("must be like http://host:port")
        return url

    def models_path(self) -> Path:
        """Return the folder of added models (it need not exist)."""
        return self.models_dir or user_data_path("wordtale") / "models"

    def compute_threads(self) -> int:
        """Return how many threads to compute with: as set, else up to two of the cores we may use."""
        if self.threads is not None:
            return self.threads
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(MAX_THREADS, cores))
