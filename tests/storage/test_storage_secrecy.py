"""Nothing that a person typed stands in the files, and only the right key opens them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from storage_doors import MakeSettings, blobs, database_path, file_bytes, raw, tell

from storage import KeyMissing, StorageCorrupt, StorageError, StorageSettings, Store
from storage.crypto import Key
from storage.tables import metadata
from storage.types import EncryptedJson, EncryptedText, Fingerprint

SECRETS = (
    "telegram-id-9876543210",
    "telegram:chat-123456789",
    "update-555666777",
    "The giraffe ate my homework",
    "A giraffe at large",
    "платье-жираф",
    "glossary-of-giraffes",
    "secret-list",
    "opening words of a learner",
    "a rating's reason",
    "an event's detail",
    "a job's payload",
    "a nickname",
)


async def write_secrets(store: Store) -> str:
    identity, chat, turn, text, title, word, gloss, list_name, opening, reason, detail, payload, name = (
        SECRETS
    )
    person = await store.people.resolve("telegram", identity)
    await store.words.add(person.id, [word], list_name, glosses={word: gloss})
    story = await store.stories.begin(person.id, chat, {"opening": opening}, turn=turn)
    await store.stories.finish(story.id, title=title, text=text, result={"text": text, "title": title})
    await store.ratings.set(person.id, story.id, 1, [reason])
    await store.events.add("edit", person.id, {"detail": detail})
    await store.jobs.add("retrain", {"payload": payload}, person.id)
    await store.settings.update(person.id, {"nickname": name})
    return person.id


async def test_nothing_typed_stands_in_the_files(
    sqlite_store: Store, sqlite_settings: StorageSettings
) -> None:
    person_id = await write_secrets(sqlite_store)
    stored = file_bytes(sqlite_settings)
    for secret in SECRETS:
        for encoding in ("utf-8", "utf-16-le", "unicode-escape"):
            assert secret.encode(encoding) not in stored, secret
    assert person_id.encode() in stored
    assert len(list(blobs(sqlite_settings))) > len(SECRETS)


async def test_the_same_text_is_stored_differently_each_time(
    sqlite_store: Store, sqlite_settings: StorageSettings
) -> None:
    person = await sqlite_store.people.resolve("console", "me")
    for turn in ("1", "2"):
        await tell(sqlite_store, person.id, turn, text="The same text.")
    texts = raw(sqlite_settings, "SELECT text, chat FROM stories")
    assert len({value for row in texts for value in row}) == 4


async def test_files_are_for_their_owner_only(sqlite_store: Store, sqlite_settings: StorageSettings) -> None:
    await write_secrets(sqlite_store)
    path = database_path(sqlite_settings)
    for file in (*path.parent.iterdir(), sqlite_settings.key_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    for folder in (path.parent, sqlite_settings.key_file.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_the_key_is_not_in_the_database(sqlite_store: Store, sqlite_settings: StorageSettings) -> None:
    await write_secrets(sqlite_store)
    text = sqlite_settings.key_file.read_text().splitlines()[-1]
    stored = file_bytes(sqlite_settings)
    assert text.encode() not in stored
    assert Key.from_text(text).secret not in stored


async def test_a_value_moved_to_another_column_does_not_open(
    sqlite_store: Store, sqlite_settings: StorageSettings
) -> None:
    person = await sqlite_store.people.resolve("console", "me")
    story = await tell(sqlite_store, person.id, "1")
    raw(sqlite_settings, "UPDATE stories SET text = title")
    with pytest.raises(StorageCorrupt, match=r"stories\.text"):
        await sqlite_store.stories.get(story.id)
    with pytest.raises(StorageCorrupt, match=r"stories\.text"):
        await sqlite_store.check(decrypt=True)
    await sqlite_store.check()


@pytest.mark.parametrize(
    "damage", ["zeroblob(40)", "x'01'", "substr(text, 1, length(text) - 1)", "text || x'00'"]
)
async def test_a_value_tampered_with_does_not_open(
    sqlite_store: Store, sqlite_settings: StorageSettings, damage: str
) -> None:
    person = await sqlite_store.people.resolve("console", "me")
    story = await tell(sqlite_store, person.id, "1")
    raw(sqlite_settings, f"UPDATE stories SET text = CAST({damage} AS BLOB)")
    with pytest.raises(StorageCorrupt, match="damaged"):
        await sqlite_store.stories.get(story.id)
    assert (await sqlite_store.people.resolve("console", "me")).id == person.id


def test_every_encrypted_column_is_bound_to_its_own_name() -> None:
    kinds = EncryptedText | EncryptedJson | Fingerprint
    columns = [column for table in metadata.sorted_tables for column in table.columns]
    bound = {str(column): column.type.context for column in columns if isinstance(column.type, kinds)}
    assert len(bound) > 15
    assert all(name == context for name, context in bound.items())
    for column in columns:
        if isinstance(column.type, Fingerprint):
            assert set(column.type.sources) <= set(column.table.columns.keys())


async def test_without_its_key_file_a_database_says_so_and_no_new_key_is_made(
    sqlite_settings: StorageSettings,
) -> None:
    async with await Store.open(sqlite_settings) as store:
        await write_secrets(store)
    sqlite_settings.key_file.unlink()
    with pytest.raises(KeyMissing, match=r"encrypted with key [0-9a-f]{16}.*storage\.key holds no key"):
        await Store.open(sqlite_settings)
    assert not sqlite_settings.key_file.exists()


async def test_a_wrong_key_says_which_one_is_wanted(make_settings: MakeSettings) -> None:
    right, wrong = Key.new(), Key.new()
    async with await Store.open(make_settings(key=right.to_text())) as store:
        await write_secrets(store)
    with pytest.raises(KeyMissing, match=rf"{right.id.hex()}.*WORDTALE_STORAGE_KEY holds {wrong.id.hex()}"):
        await Store.open(make_settings(key=wrong.to_text()))
    async with await Store.open(make_settings(key=right.to_text())) as store:
        await store.check(decrypt=True)


@pytest.mark.parametrize("text", ["", "not base64 !", "c2hvcnQ=", "# only a comment"])
async def test_an_unusable_key_is_a_sentence(make_settings: MakeSettings, text: str) -> None:
    settings = make_settings()
    settings.key_file.parent.mkdir()
    settings.key_file.write_text(text)
    with pytest.raises(KeyMissing, match="the key file"):
        await Store.open(settings)
    if text.strip("# "):
        with pytest.raises(KeyMissing, match="WORDTALE_STORAGE_KEY has no usable key"):
            await Store.open(make_settings(key=text))


async def test_a_key_in_the_url_safe_alphabet_is_the_same_key(make_settings: MakeSettings) -> None:
    key = Key(bytes([0xFB, 0xFF] * 16)).to_text()
    assert "+" in key
    assert "/" in key
    async with await Store.open(make_settings(key=key)) as store:
        person = await store.people.resolve("console", "me")
    async with await Store.open(make_settings(key=key.replace("+", "-").replace("/", "_"))) as store:
        assert await store.people.resolve("console", "me") == person


async def test_errors_hold_no_text(sqlite_store: Store, sqlite_settings: StorageSettings) -> None:
    person = await sqlite_store.people.resolve("console", "me")
    raw(sqlite_settings, "DROP TABLE words")
    with pytest.raises(Exception, match="failed") as caught:
        await sqlite_store.words.add(person.id, ["a-secret-word"])
    chain = ""
    error: BaseException | None = caught.value
    while error is not None:
        chain += repr(error)
        error = error.__cause__ or error.__context__
    assert "a-secret-word" not in chain


def test_the_key_directory_is_made(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings(key_file="~/storage.key")
    assert settings.key_file == Path.home() / "storage.key"


async def test_a_place_that_can_not_hold_the_key_is_a_sentence(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    settings = make_settings(key_file=tmp_path / "file" / "storage.key")
    with pytest.raises(StorageError, match=r"the key file .*storage\.key can't be (read|written)"):
        await Store.open(settings)
    async with await Store.open(make_settings()) as store:
        assert (await store.people.resolve("console", "me")).id
