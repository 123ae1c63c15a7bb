"""`wordtale db`: what somebody who runs Wordtale types."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from storage_doors import MakeSettings, key_ids_in_use, raw, tell
from typer.testing import CliRunner, Result

from storage import StorageSettings, Store
from storage.cli import app
from storage.crypto import Key


@pytest.fixture
def settings(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """A database that the environment names, as it would be named in a shell."""
    found = make_settings()
    monkeypatch.setenv("WORDTALE_STORAGE_URL", found.url)
    monkeypatch.setenv("WORDTALE_STORAGE_KEY_FILE", str(found.key_file))
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


async def _fill(settings: StorageSettings) -> None:
    async with await Store.open(settings) as store:
        person = await store.people.resolve("console", "me")
        await tell(store, person.id, "1", text="Kept.")


def fill(settings: StorageSettings) -> None:
    asyncio.run(_fill(settings))


def test_upgrade_makes_a_database_and_then_leaves_it(settings: StorageSettings) -> None:
    first, second = run("upgrade"), run("upgrade")
    assert (first.exit_code, first.stdout) == (0, "upgraded from nothing to revision 0001\n")
    assert (second.exit_code, second.stdout) == (0, "already at revision 0001\n")


def test_upgrade_says_where_the_copy_is(settings: StorageSettings) -> None:
    assert settings.sqlite_path is not None
    settings.sqlite_path.parent.mkdir()
    settings.sqlite_path.touch()
    raw(settings, "CREATE TABLE older (note TEXT)")
    result = run("upgrade")
    (backup,) = settings.sqlite_path.parent.glob("*.bak")
    assert str(backup) in result.stdout.replace("\n", "")


def test_path_prints_where_the_database_is(
    settings: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("path").stdout.replace("\n", "") == str(settings.sqlite_path)
    monkeypatch.setenv("WORDTALE_STORAGE_URL", "postgresql://tale:secret@db.example/tales")
    assert run("path").stdout == "postgresql+asyncpg://tale:***@db.example/tales\n"


def test_check_finds_a_sound_database_and_an_unsound_one(settings: StorageSettings) -> None:
    fill(settings)
    assert run("check").stdout == "the database is sound\n"
    raw(settings, "UPDATE stories SET text = title")
    result = run("check")
    assert result.exit_code == 1
    assert "wordtale db: a stored value of stories.text is damaged" in result.stderr
    assert result.stdout == ""


def test_check_makes_nothing(settings: StorageSettings) -> None:
    result = run("check")
    assert result.exit_code == 1
    assert "there is no database at" in result.stderr
    assert settings.sqlite_path is not None
    assert not settings.sqlite_path.exists()
    assert not settings.key_file.exists()


def test_backup_makes_a_copy_that_opens(
    settings: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(settings)
    target = tmp_path / "copy.db"
    assert run("backup", str(target)).exit_code == 0
    again = run("backup", str(target))
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    missing = run("backup", str(tmp_path / "no such folder" / "copy.db"))
    assert missing.exit_code == 1
    assert "Traceback" not in missing.stderr
    monkeypatch.setenv("WORDTALE_STORAGE_URL", f"sqlite:///{target}")
    assert run("check").stdout == "the database is sound\n"


def test_backup_into_a_folder_names_the_copy_itself(settings: StorageSettings, tmp_path: Path) -> None:
    fill(settings)
    (tmp_path / "copies").mkdir()
    assert run("backup", str(tmp_path / "copies")).exit_code == 0
    assert [file.name for file in (tmp_path / "copies").iterdir()] == ["wordtale.db"]


def test_rotate_key_moves_every_row(settings: StorageSettings) -> None:
    fill(settings)
    (before,) = key_ids_in_use(settings)
    result = run("rotate-key", "--drop-old")
    (after,) = key_ids_in_use(settings)
    assert after != before
    assert f"2 rows now use key {after.hex()}" in result.stdout
    assert "removed 1 older keys" in result.stdout
    assert run("check").exit_code == 0


def test_new_key_prints_a_key(settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    key = run("new-key").stdout
    assert len(Key.from_text(key).secret) == 32
    fill(settings)
    old = settings.key_file.read_text().splitlines()[-1]
    monkeypatch.setenv("WORDTALE_STORAGE_KEY", f"{key.strip()},{old}")
    assert f"use key {Key.from_text(key).id.hex()}" in run("rotate-key").stdout
    monkeypatch.setenv("WORDTALE_STORAGE_KEY", key)
    assert run("check").exit_code == 0


def test_a_wrong_key_is_a_sentence(settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(settings)
    monkeypatch.setenv("WORDTALE_STORAGE_KEY", Key.new().to_text())
    for command in (["check"], ["rotate-key"], ["upgrade"]):
        result = run(*command)
        assert result.exit_code == 1
        assert result.stderr.startswith("wordtale db: the database is encrypted with key")


def test_a_wrong_setting_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDTALE_STORAGE_URL", "mysql://localhost/tales")
    result = run("path")
    assert result.exit_code == 2
    assert result.stderr.startswith("WORDTALE_STORAGE_URL: ")
    assert "use sqlite+aiosqlite:///PATH or postgresql" in result.stderr
