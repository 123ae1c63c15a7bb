"""What can go wrong with storage, in our own words. Knows nothing of SQL.

StorageError            any failure of the store; the call changed nothing
├── StorageBusy         somebody else holds the database; trying again soon makes sense
├── StorageFull         no room left on the disk, or the size limit is reached
├── StorageReadOnly     the database may be read but not written
├── StorageCorrupt      the file is damaged, or a stored value was tampered with
├── StorageUnavailable  the database can't be reached or opened
├── SchemaMismatch      the database is older or newer than this Wordtale
├── KeyMissing          the key that the stored texts were encrypted with is not at hand
├── NotFound            no person, story or job has that id
└── LeaseLost           another worker took the job over
"""

from __future__ import annotations


class StorageError(Exception):
    """Any failure of the store. The call that raised it changed nothing; the next call may work."""


class StorageBusy(StorageError):
    """Somebody else holds the database for longer than the busy time-out."""


class StorageFull(StorageError):
    """No room is left on the disk, or the size limit of the settings is reached."""


class StorageReadOnly(StorageError):
    """The database may be read but not written."""


class StorageCorrupt(StorageError):
    """The database is damaged, or a stored value doesn't pass its check."""


class StorageUnavailable(StorageError):
    """The database can't be reached or opened."""


class SchemaMismatch(StorageError):
    """The database was made by another version of Wordtale."""


class KeyMissing(StorageError):
    """The encryption key that the database needs is not at hand."""


class NotFound(StorageError):
    """No row has the id that was given."""


class LeaseLost(StorageError):
    """The job isn't this worker's any more: its lease ran out, or the job ended."""
