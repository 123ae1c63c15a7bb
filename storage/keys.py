"""Where the encryption keys are kept: the environment, or a file of mode 0600. Knows nothing of their use."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from storage.config import StorageSettings
from storage.crypto import Key
from storage.errors import KeyMissing, StorageError
from storage.translation import translate

_NOTE = (
    "# Wordtale storage keys, one a line in base64, the preferred one first.\n"
    "# Without them the stored texts can't be read by anybody: keep a copy, apart from the database.\n"
)


def _parse(texts: list[str], where: str) -> list[Key]:
    try:
        return [Key.from_text(text) for text in texts]
    except ValueError as error:
        raise KeyMissing(f"{where} has no usable key: {error}") from None


class EnvironmentKeys:
    """Keys given by WORDTALE_STORAGE_KEY, separated by commas; read-only."""

    def __init__(self, text: str) -> None:
        self._text = text

    def describe(self) -> str:
        """Say where the keys are."""
        return "WORDTALE_STORAGE_KEY"

    def read(self) -> list[Key]:
        """Return the keys in the order given. Raises KeyMissing when one is malformed."""
        return _parse([part for part in self._text.split(",") if part.strip()], self.describe())


class KeyFile:
    """Keys in a text file; made on the first run, replaced as a whole so that it is never half written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def describe(self) -> str:
        """Say where the keys are."""
        return f"the key file {self.path}"

    def read(self) -> list[Key]:
        """Return the keys of the file, [] when there is none. Raises KeyMissing when it can't be used."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise KeyMissing(f"{self.describe()} can't be read: {error}") from error
        keys = _parse([line for line in lines if line.strip() and not line.startswith("#")], self.describe())
        if not keys:
            raise KeyMissing(f"{self.describe()} is empty")
        return keys

    def create(self) -> Key:
        """Make the file with one new key, or return the first key of a file that is there already."""
        with self._locked():
            keys = self.read()
            if not keys:
                keys = [Key.new()]
                self._write(keys)
            return keys[0]

    def add(self) -> Key:
        """Put a new key before the others and return it."""
        with self._locked():
            key = Key.new()
            self._write([key, *self.read()])
            return key

    def keep_only(self, key_ids: Collection[bytes]) -> int:
        """Remove every other key and return how many went."""
        with self._locked():
            keys = self.read()
            kept = [key for key in keys if key.id in key_ids]
            if not kept:
                raise StorageError("refusing to remove every key")
            if len(kept) < len(keys):
                self._write(kept)
            return len(keys) - len(kept)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing the file; its directory is what gets locked."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.ExitStack() as stack:
                if os.name == "posix":
                    import fcntl

                    directory = os.open(self.path.parent, os.O_RDONLY)
                    stack.callback(os.close, directory)
                    fcntl.flock(directory, fcntl.LOCK_EX)
                yield
        except OSError as error:
            problem = translate(error)
            raise type(problem)(f"{self.describe()} can't be written: {error}") from error

    def _write(self, keys: list[Key]) -> None:
        text = _NOTE + "".join(f"{key.to_text()}\n" for key in keys)
        fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_directory(self.path.parent)


def sync_directory(directory: Path) -> None:
    """Make a rename within `directory` survive a power cut (where the system can do that)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def key_source(settings: StorageSettings) -> EnvironmentKeys | KeyFile:
    """Return where the settings say the keys are."""
    if settings.key is not None:
        return EnvironmentKeys(settings.key.get_secret_value())
    return KeyFile(settings.key_file)
