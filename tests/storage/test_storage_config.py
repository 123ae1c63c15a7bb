"""Settings, public names, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from platformdirs import user_config_path, user_data_path
from pydantic import ValidationError
from storage_doors import MakeSettings

import storage
from storage import StorageSettings
from storage.ids import new_id

ROOT = Path(__file__).parents[2]


def test_defaults_keep_the_key_apart_from_the_database() -> None:
    settings = StorageSettings()
    assert settings.sqlite_path == user_data_path("wordtale") / "wordtale.db"
    assert settings.key_file == user_config_path("wordtale") / "storage.key"
    assert settings.key_file.parent != settings.sqlite_path.parent
    assert settings.busy_timeout_ms == 1500


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("sqlite:////srv/tale.db", "sqlite+aiosqlite:////srv/tale.db"),
        ("sqlite:///tale.db", "sqlite+aiosqlite:///tale.db"),
        ("postgres://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("postgresql://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("postgresql+asyncpg://h/db", "postgresql+asyncpg://h/db"),
    ],
)
def test_urls_as_people_write_them(given: str, kept: str) -> None:
    settings = StorageSettings(url=given)
    assert settings.url == kept
    assert (settings.sqlite_path is None) == kept.startswith("postgresql")


@pytest.mark.parametrize(
    "url", ["", "tale.db", "mysql://h/db", "sqlite://", "sqlite:///", "sqlite:///:memory:"]
)
def test_urls_that_can_not_work_are_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValidationError, match=r"use sqlite\+aiosqlite|in-memory"):
        StorageSettings(url=url)


def test_a_home_folder_and_odd_characters_in_the_path(tmp_path: Path) -> None:
    assert StorageSettings(url="sqlite:///~/tale.db").sqlite_path == Path.home() / "tale.db"
    settings = StorageSettings(url="sqlite:///my%20tales/tale.db")
    assert settings.sqlite_path == Path("my tales/tale.db")


async def test_a_path_with_odd_characters_is_opened_as_it_is_named(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    path = tmp_path / "my tales 100%41 ñ?" / "tale #1.db"
    settings = make_settings(url=f"sqlite:///{quote(str(path))}")
    async with await storage.Store.open(settings) as store:
        await store.people.resolve("console", "me")
        await store.backup(tmp_path / "copy #2?.db")
    assert path.stat().st_size > 0
    assert (tmp_path / "copy #2?.db").exists()


def test_secrets_are_not_printed() -> None:
    settings = StorageSettings(url="postgresql://tale:s3cret@db/tales?password=s3cret", key="a2V5c2VjcmV0")
    shown = repr(settings) + str(settings.model_dump()) + settings.model_dump_json() + settings.public_url
    assert "s3cret" not in shown
    assert "a2V5c2VjcmV0" not in shown
    assert "s3cret" in settings.url
    assert settings.public_url == "postgresql+asyncpg://tale:***@db/tales?password=***"


@pytest.mark.parametrize(
    ("name", "value"), [("BUSY_TIMEOUT_MS", "0"), ("BUSY_TIMEOUT_MS", "x"), ("MAX_SIZE", "1KB")]
)
def test_numbers_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"WORDTALE_STORAGE_{name}", value)
    with pytest.raises(ValidationError):
        StorageSettings()


def test_a_size_limit_is_written_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDTALE_STORAGE_MAX_SIZE", "2GB")
    assert StorageSettings().max_size == 2_000_000_000


def test_every_public_name_is_there_and_listed_in_order() -> None:
    assert storage.__all__ == sorted(storage.__all__)
    assert all(getattr(storage, name) for name in storage.__all__)
    assert set(storage._HOME) == set(storage.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = storage.nothing


def loaded_after(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after the statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(answer.stdout))


def test_the_settings_load_without_a_database_library() -> None:
    assert loaded_after("from storage import StorageSettings; StorageSettings()").isdisjoint(
        {"sqlalchemy", "alembic", "aiosqlite", "cryptography"}
    )


def test_the_store_loads_without_the_other_rooms_and_without_migrations() -> None:
    loaded = loaded_after("from storage import Store; import storage.cli")
    assert loaded.isdisjoint({"bot", "engine", "training", "torch", "transformers", "alembic", "mako"})


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(2000)]
    assert ids == sorted(set(ids))
    assert {len(one) for one in ids} == {26}
