"""Settings of the front ends, from the environment (WORDTALE_BOT_…) and `.env`. Knows no platform's API."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class BotSettings(BaseSettings):
    """Effective settings; every field can be set as WORDTALE_BOT_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="WORDTALE_BOT_", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    language: Literal["en", "ru", "zh"] | None = Field(
        None, description="language of people who have not chosen one; empty = that of their platform"
    )
    admins: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="who may call admin commands: telegram:12345, discord:67890"
    )
    cooldown_scale: float = Field(1.0, ge=0, le=100, description="multiplies all cooldowns; 0 = none")
    parallel: int = Field(8, ge=1, le=64, description="requests in flight of `wordtale story --from`")
    log_level: Literal["debug", "info", "warning", "error"] = "warning"

    @field_validator("admins", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            value = [item.strip(" \"'") for item in value.strip(" []").split(",")]
        return [item for item in value if item] if isinstance(value, list) else value

    @field_validator("admins")
    @classmethod
    def _identities(cls, value: list[str]) -> list[str]:
        if not all(re.fullmatch(r"[a-z]+:\S+", item) for item in value):
            raise ValueError("each is a platform and an id, such as telegram:12345")
        return value
