"""What several storage tests do: look into the files as a thief would, tell a story, start processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from storage import StorageSettings, Store, Story

MakeSettings = Callable[..., StorageSettings]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "__main__",
        "storage.config",
        "storage.store",
        "aiosqlite",
        "sqlalchemy.dialects.sqlite.aiosqlite",
        "cryptography.hazmat.primitives.ciphers.aead",
    ]
)


def database_path(settings: StorageSettings) -> Path:
    path = settings.sqlite_path
    assert path is not None
    return path


def file_bytes(settings: StorageSettings) -> bytes:
    """Everything that stands on the disk: the database, its write-ahead log, the log's index."""
    path = database_path(settings)
    files = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
    return b"".join(file.read_bytes() for file in files if file.exists())


def raw(settings: StorageSettings, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run SQL on the file, past the store."""
    with closing(sqlite3.connect(database_path(settings))) as connection, connection:
        return connection.execute(query, values).fetchall()


def blobs(settings: StorageSettings) -> Iterator[bytes]:
    """Every encrypted value of the file."""
    with closing(sqlite3.connect(database_path(settings))) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f"SELECT * FROM {table}"):
                yield from (value for value in row if isinstance(value, bytes) and len(value) > 36)


def key_ids_in_use(settings: StorageSettings) -> set[bytes]:
    """The ids of the keys that the encrypted values were written with."""
    return {value[1:9] for value in blobs(settings)}


async def tell(store: Store, person_id: str, turn: str, text: str = "Once.", **more: Any) -> Story:
    """One whole turn: asked and told."""
    chat = more.pop("chat", "console")
    story = await store.stories.begin(person_id, chat, {"words": ["dinner"]}, turn=turn, **more)
    return await store.stories.finish(story.id, title="A story", text=text, result={"seed": 7})


def start(target: Callable[..., Any], *values: Any) -> tuple[BaseProcess, Connection]:
    """Run `target(connection, *values)` in a process of its own."""
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=target, args=(there, *values), daemon=True)
    process.start()
    there.close()
    return process, here


def write_turns(said: Connection, settings: StorageSettings, prefix: str) -> None:
    """Tell stories without end; say the turn of each one only when it is kept."""

    async def work() -> None:
        store = await Store.open(settings)
        person = await store.people.resolve("console", "me")
        number = 0
        while True:
            turn = f"{prefix}-{number}"
            await tell(store, person.id, turn, text=f"text of {turn}")
            said.send(turn)
            number += 1

    asyncio.run(work())


async def count_up(store: Store, person_id: str, times: int) -> None:
    """Raise one number in the person's settings, once per call."""
    for _ in range(times):
        await store.settings.change(person_id, lambda now: {"count": now.get("count", 0) + 1})


def count_up_in_process(said: Connection, settings: StorageSettings, tasks: int, times: int) -> None:
    """Raise the number from many tasks; say "ok" or the error."""

    async def work() -> str:
        async with await Store.open(settings) as store:
            person = await store.people.resolve("console", "me")
            done = await asyncio.gather(
                *(count_up(store, person.id, times) for _ in range(tasks)), return_exceptions=True
            )
            return next((repr(error) for error in done if error), "ok")

    said.send(asyncio.run(work()))


def open_in_process(said: Connection, settings: StorageSettings, go_at: float) -> None:
    """Open the store at a given moment and say who the person is, or the error."""

    async def work() -> str:
        while asyncio.get_running_loop().time() < go_at:
            await asyncio.sleep(0)
        async with await Store.open(settings) as store:
            return (await store.people.resolve("console", "me")).id

    try:
        said.send(asyncio.run(work()))
    except Exception as error:
        said.send(repr(error))


def rotate_and_die(said: Connection, settings: StorageSettings) -> None:
    """Begin to rotate the key and be killed after the first batch of rows."""

    async def work() -> None:
        store = await Store.open(settings)
        await store.rotate_key(drop_old=True, tell=lambda rows: os.kill(os.getpid(), signal.SIGKILL))

    asyncio.run(work())
