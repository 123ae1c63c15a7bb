"""Where the database and its key are (WORDTALE_STORAGE_…, `.env`). Knows nothing of SQL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

from platformdirs import user_config_path, user_data_path
from pydantic import ByteSize, Field, SecretStr, field_serializer, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*(?=@)|((?:\?|&)password=)[^&]*")


def _default_url() -> str:
    return f"sqlite+aiosqlite:///{quote(str(user_data_path('wordtale') / 'wordtale.db'))}"


class StorageSettings(BaseSettings):
    """Effective settings; every field can be set as WORDTALE_STORAGE_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="WORDTALE_STORAGE_", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    url: str = Field(
        default_factory=_default_url,
        repr=False,
        description="sqlite+aiosqlite:///PATH or postgresql+asyncpg://USER:PASSWORD@HOST/NAME",
    )
    key: SecretStr | None = Field(
        None,
        description="encryption key, 32 bytes in base64; while rotating 'new,old'; empty = the key file",
    )
    key_file: Path = Field(
        default_factory=lambda: user_config_path("wordtale") / "storage.key",
        description="file with the encryption key, made on the first run; keep it apart from the database",
    )
    busy_timeout_ms: int = Field(
        1500, ge=1, le=60_000, description="longest wait for somebody else's write, in milliseconds"
    )
    max_size: ByteSize | None = Field(
        None, ge=65_536, description="size limit of an SQLite file, such as 2GB; empty = the disk's"
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in _DRIVERS:
            raise ValueError("use sqlite+aiosqlite:///PATH or postgresql+asyncpg://USER@HOST/NAME")
        driver = _DRIVERS[scheme]
        if driver.startswith("sqlite") and (rest in ("", "/") or ":memory:" in rest or "mode=memory" in rest):
            raise ValueError("an in-memory database would lose everything: give a file path")
        return f"{driver}://{rest}"

    @field_validator("key_file")
    @classmethod
    def _home(cls, path: Path) -> Path:
        return path.expanduser()

    @field_serializer("url")
    def _without_password(self, url: str) -> str:
        return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", url)

    @property
    def public_url(self) -> str:
        """The database URL with its password masked, fit for logs and terminals."""
        return self._without_password(self.url)

    @property
    def sqlite_path(self) -> Path | None:
        """The SQLite file, or None with another database."""
        if not self.url.startswith("sqlite"):
            return None
        path = self.url.partition(":///")[2].partition("?")[0]
        return Path(unquote(path.removeprefix("file:"))).expanduser()
