"""Encryption of single values and keyed fingerprints for look-up. Knows nothing of tables or files.

A stored value is: one byte format (1), 8 bytes key id, 12 bytes nonce, ciphertext with its tag
(AES-256-GCM). The authenticated data are the format, the key id and the context ("table.column"): a value
copied into another column doesn't open.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Iterable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from storage.errors import KeyMissing, StorageCorrupt

KEY_BYTES = 32
KEY_ID_BYTES = 8
FINGERPRINT_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_FORMAT = b"\x01"
_HEADER_BYTES = len(_FORMAT) + KEY_ID_BYTES


def _derive(secret: bytes, purpose: str, length: int) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=length, info=f"wordtale storage {purpose}".encode()).derive(
        secret
    )


class Key:
    """One 32-byte secret; its id follows from it, so the same secret has the same id everywhere."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(secret)}")
        self.secret = secret
        self.id = _derive(secret, "key id", KEY_ID_BYTES)
        self.aead = AESGCM(_derive(secret, "encryption", KEY_BYTES))
        self.fingerprint_secret = _derive(secret, "look-up", KEY_BYTES)

    @classmethod
    def new(cls) -> Key:
        """Return a key with fresh random bytes."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def from_text(cls, text: str) -> Key:
        """Read a key from base64 (either alphabet). Raises ValueError with a sentence."""
        try:
            return cls(base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True))
        except binascii.Error:
            raise ValueError("a key is written in base64") from None

    def to_text(self) -> str:
        """Return the key in base64."""
        return base64.b64encode(self.secret).decode()


class KeySource(Protocol):
    """Where keys are kept: the environment or a file."""

    def read(self) -> list[Key]:
        """Return the keys, the preferred one first; empty where none was made yet."""

    def describe(self) -> str:
        """Say where the keys are, for messages."""


class Cipher:
    """Encrypts with the current key and decrypts with any key of its source."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._keys: dict[bytes, Key] = {}
        self._current: Key | None = None

    def reload(self) -> list[Key]:
        """Read the source again and return its keys, the preferred one first."""
        keys = self._source.read()
        self._keys = {key.id: key for key in keys}
        return keys

    def use(self, key_id: bytes) -> None:
        """Make `key_id` the key that new values are written with. Raises KeyMissing."""
        if self._current is None or self._current.id != key_id:
            self._current = self._key(key_id)

    def _key(self, key_id: bytes) -> Key:
        if key_id not in self._keys:
            # Another process may have rotated the key since the source was read.
            self.reload()
        try:
            return self._keys[key_id]
        except KeyError:
            held = ", ".join(known.hex() for known in self._keys) or "no key"
            raise KeyMissing(
                f"the database is encrypted with key {key_id.hex()}, "
                f"but {self._source.describe()} holds {held}"
            ) from None

    @property
    def current(self) -> Key:
        """The key that new values are written with."""
        if self._current is None:
            raise KeyMissing("no encryption key is in use yet")
        return self._current

    @property
    def header(self) -> bytes:
        """The first bytes of every value written with the current key."""
        return _FORMAT + self.current.id

    def encrypt(self, plain: bytes, context: str) -> bytes:
        """Return `plain` encrypted with the current key and bound to `context`."""
        nonce = os.urandom(_NONCE_BYTES)
        header = self.header
        return header + nonce + self.current.aead.encrypt(nonce, plain, header + context.encode())

    def decrypt(self, stored: bytes, context: str) -> bytes:
        """Return what `encrypt` was given. Raises KeyMissing, StorageCorrupt."""
        if len(stored) < _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES or not stored.startswith(_FORMAT):
            raise StorageCorrupt(f"a stored value of {context} is damaged")
        header, rest = stored[:_HEADER_BYTES], stored[_HEADER_BYTES:]
        key = self._key(header[len(_FORMAT) :])
        try:
            return key.aead.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + context.encode())
        except InvalidTag:
            raise StorageCorrupt(f"a stored value of {context} is damaged or was moved") from None

    def fingerprint(self, context: str, *values: str) -> bytes:
        """Return the keyed hash under which `values` are stored now."""
        return _fingerprint(self.current, context, values)

    def fingerprints(self, context: str, *values: str) -> list[bytes]:
        """Return every keyed hash under which `values` may be stored while a rotation is under way."""
        return [_fingerprint(key, context, values) for key in self._keys.values()]


def _fingerprint(key: Key, context: str, values: Iterable[str]) -> bytes:
    parts = [part.encode(errors="surrogatepass") for part in (context, *values)]
    framed = b"".join(len(part).to_bytes(4) + part for part in parts)
    return hmac.digest(key.fingerprint_secret, framed, "sha256")
