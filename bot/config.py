"""Settings of the front ends, from the environment (WORDTALE_BOT_…) and `.env`. Knows no platform's API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class BotSettings(BaseSettings):
    """Effective settings; every field can be set as WORDTALE_BOT_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="WORDTALE_BOT_", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    language: Literal["en", "ru", "zh"] | None = Field(
        None, description="language of people who have not chosen one; empty = that of their platform"
    )
    admins: list[str] = Field(
        default_factory=list, description='who may call admin commands, as JSON: ["telegram:12345"]'
    )
    cooldown_scale: float = Field(1.0, ge=0, le=100, description="multiplies all cooldowns; 0 = none")
    parallel: int = Field(8, ge=1, le=64, description="requests in flight of `wordtale story --from`")
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
