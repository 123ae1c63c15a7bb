"""From any schema to this one and back, with a copy made first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from storage_doors import MakeSettings, database_path, raw, tell

from storage import SchemaMismatch, StorageError, StorageSettings, Store
from storage.clock import utc_now
from storage.crypto import Cipher
from storage.keys import key_source
from storage.migrations import HEAD
from storage.schema import SchemaKeeper, alembic_config

REBUILD_PEOPLE = '''
"""Rebuild a table that everything refers to."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"

def upgrade():
    with op.batch_alter_table("people", recreate="always") as batch:
        batch.add_column(sa.Column("nickname", sa.String(40)))

def downgrade():
    with op.batch_alter_table("people", recreate="always") as batch:
        batch.drop_column("nickname")
'''

FAILS_LATE = '''
"""Change something, then fail."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"

def upgrade():
    op.add_column("people", sa.Column("nickname", sa.String(40)))
    op.execute("DELETE FROM stories")
    op.execute("INSERT INTO nowhere VALUES (1)")
'''

ORPHANS = '''
"""Leave rows that refer to nothing."""
from alembic import op
revision, down_revision = "0002", "0001"

def upgrade():
    op.execute("DELETE FROM people")
'''


def keeper(settings: StorageSettings, tmp_path: Path, revision: str) -> SchemaKeeper:
    """Return a keeper of a later version of Wordtale, which has one more revision."""
    folder = tmp_path / "revisions"
    folder.mkdir(exist_ok=True)
    (folder / "0002_later.py").write_text(revision)
    keys = key_source(settings)
    return SchemaKeeper(settings, Cipher(keys), keys, utc_now, head="0002", extra_revisions=folder)


def present_keeper(settings: StorageSettings) -> SchemaKeeper:
    keys = key_source(settings)
    return SchemaKeeper(settings, Cipher(keys), keys, utc_now)


async def fill(settings: StorageSettings) -> str:
    async with await Store.open(settings) as store:
        person = await store.people.resolve("console", "me")
        for number in range(5):
            story = await tell(store, person.id, str(number))
            await store.ratings.set(person.id, story.id, 1)
        return person.id


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def backups(settings: StorageSettings) -> list[Path]:
    return sorted(database_path(settings).parent.glob("*.bak"))


def test_there_is_one_head_and_it_is_the_one_that_the_code_names() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_heads() == [HEAD]


async def test_the_migrations_make_the_tables_of_the_code(settings: StorageSettings) -> None:
    async with await Store.open(settings):
        pass
    assert await present_keeper(settings).differences() == []


async def test_a_difference_would_be_noticed(sqlite_settings: StorageSettings) -> None:
    await fill(sqlite_settings)
    raw(sqlite_settings, "ALTER TABLE people ADD COLUMN nickname TEXT")
    raw(sqlite_settings, "DROP INDEX ix_stories_version_of")
    assert len(await present_keeper(sqlite_settings).differences()) == 2


async def test_down_to_nothing_and_up_again(settings: StorageSettings) -> None:
    await fill(settings)
    keeper = present_keeper(settings)
    await keeper.downgrade("base")
    if settings.sqlite_path:
        left = raw(settings, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        assert left in ([("alembic_version",)], [("alembic_version",), ("alembic_version_pkc",)])
    upgrade = await present_keeper(settings).open()
    assert (upgrade.before, upgrade.after) == (None, HEAD)
    assert await present_keeper(settings).differences() == []


async def test_opening_again_changes_nothing_and_copies_nothing(sqlite_settings: StorageSettings) -> None:
    await fill(sqlite_settings)
    before = dump(database_path(sqlite_settings))
    async with await Store.open(sqlite_settings) as store:
        assert store.upgrade is not None
        assert (store.upgrade.before, store.upgrade.backup) == (HEAD, None)
    assert dump(database_path(sqlite_settings)) == before
    assert backups(sqlite_settings) == []


async def test_an_existing_file_is_copied_before_it_is_migrated(sqlite_settings: StorageSettings) -> None:
    path = database_path(sqlite_settings)
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE older (note TEXT)")
        connection.execute("INSERT INTO older VALUES ('from before')")
    before = dump(path)
    async with await Store.open(sqlite_settings) as store:
        assert store.upgrade is not None
        backup = store.upgrade.backup
    assert backup is not None
    assert backups(sqlite_settings) == [backup]
    assert dump(backup) == before
    assert backup.stat().st_mode & 0o777 == 0o600
    assert raw(sqlite_settings, "SELECT note FROM older") == [("from before",)]


async def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(
    sqlite_settings: StorageSettings, tmp_path: Path
) -> None:
    person_id = await fill(sqlite_settings)
    before = dump(database_path(sqlite_settings))
    later = keeper(sqlite_settings, tmp_path, REBUILD_PEOPLE)
    upgrade = await later.open()
    assert (upgrade.before, upgrade.after) == ("0001", "0002")
    assert upgrade.backup is not None
    assert dump(upgrade.backup) == before
    assert raw(sqlite_settings, "SELECT id, nickname FROM people") == [(person_id, None)]
    assert raw(sqlite_settings, "SELECT count(*) FROM stories") == [(5,)]
    assert raw(sqlite_settings, "SELECT count(*) FROM ratings") == [(5,)]
    assert raw(sqlite_settings, "PRAGMA foreign_key_check") == []
    await later.downgrade("0001")
    async with await Store.open(sqlite_settings) as store:
        assert len(await store.stories.recent(person_id)) == 5
    assert await present_keeper(sqlite_settings).differences() == []


@pytest.mark.parametrize("revision", [FAILS_LATE, ORPHANS], ids=["fails late", "leaves orphans"])
async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    sqlite_settings: StorageSettings, tmp_path: Path, revision: str
) -> None:
    person_id = await fill(sqlite_settings)
    before = dump(database_path(sqlite_settings))
    with pytest.raises(StorageError):
        await keeper(sqlite_settings, tmp_path, revision).open()
    assert dump(database_path(sqlite_settings)) == before
    async with await Store.open(sqlite_settings) as store:
        assert len(await store.stories.recent(person_id)) == 5


async def test_a_database_of_a_later_wordtale_is_refused_untouched(
    sqlite_settings: StorageSettings, tmp_path: Path
) -> None:
    await fill(sqlite_settings)
    await keeper(sqlite_settings, tmp_path, REBUILD_PEOPLE).open()
    before = dump(database_path(sqlite_settings)), len(backups(sqlite_settings))
    with pytest.raises(SchemaMismatch, match="revision 0002, which only a newer Wordtale knows"):
        await Store.open(sqlite_settings)
    assert (dump(database_path(sqlite_settings)), len(backups(sqlite_settings))) == before


async def test_only_the_newest_copies_are_kept(sqlite_settings: StorageSettings, tmp_path: Path) -> None:
    await fill(sqlite_settings)
    folder = database_path(sqlite_settings).parent
    older = [folder / f"wordtale.db.0000.2026010{day}T000000Z.bak" for day in range(1, 6)]
    for file in older:
        file.write_text("an older copy")
    upgrade = await keeper(sqlite_settings, tmp_path, REBUILD_PEOPLE).open()
    assert backups(sqlite_settings) == [*older[-2:], upgrade.backup]


async def test_a_copy_that_can_not_be_made_stops_the_migration(
    sqlite_settings: StorageSettings, tmp_path: Path
) -> None:
    await fill(sqlite_settings)
    path = database_path(sqlite_settings)
    content = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'stories'").fetchone()
    content[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        await keeper(sqlite_settings, tmp_path, REBUILD_PEOPLE).open()
    assert path.read_bytes() == bytes(content)
    assert backups(sqlite_settings) == []


async def test_the_store_copies_itself_while_in_use(sqlite_store: Store, make_settings: MakeSettings) -> None:
    person = await sqlite_store.people.resolve("console", "me")
    told = await tell(sqlite_store, person.id, "1")
    target = make_settings().key_file.parent / "copy.db"
    await sqlite_store.backup(target)
    assert [file.name for file in target.parent.iterdir() if "copy" in file.name] == ["copy.db"]
    async with await Store.open(make_settings(url=f"sqlite:///{target}")) as copy:
        assert await copy.stories.recent(person.id) == [told]
    with pytest.raises(StorageError, match="exists already"):
        await sqlite_store.backup(target)
