"""Copies of checkpoints and logs at any fsspec URL: file://, s3://, gs:// and what else is installed.

Below the URL stand `checkpoints/<step>-<time>-<run>/…`, beside each a manifest of that name in `.json`, and
`logs/…`. A checkpoint exists once its manifest does, and that is written last, under a temporary name first:
whoever reads sees whole checkpoints only. Knows nothing of what is in the files, of threads or of trainers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

KEEP = 2
_RESTORE = ".restore"
# Seconds after which a host that answers nothing counts as unreachable; botocore's own limit is a minute.
_S3_CONFIG = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 2}}


class MirrorError(OSError):
    """The mirror holds no whole checkpoint, though it holds parts of some."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in the mirror: its step, when it was pushed (ns since 1970), the run that wrote it, and
    size and SHA-256 of each file by name."""

    step: int
    time: int
    run: str
    files: dict[str, tuple[int, str]]

    @property
    def name(self) -> str:
        """Folder below `checkpoints/`; names sort by step, then time."""
        return f"{self.step:012d}-{self.time:020d}-{self.run}"


class Mirror:
    """A folder at a URL. Raises ValueError for a URL that no installed file system reads.

    `options` go to the file system (fsspec storage options, such as `endpoint_url` for S3, which is also
    taken from AWS_ENDPOINT_URL). Every method may raise whatever its file system raises when it can't be
    reached. One training stage writes to one URL.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        settings: dict[str, Any] = dict(options or {})
        protocol = fsspec.utils.get_protocol(url)
        if protocol in ("file", "local"):
            settings.setdefault("auto_mkdir", True)
        elif protocol in ("s3", "s3a"):
            settings.setdefault("config_kwargs", _S3_CONFIG)
        try:
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **settings)
        except (ImportError, ValueError) as error:
            raise ValueError(f"the mirror {url.split('@')[-1]} can't be used: {error}") from error
        self._root = root.rstrip("/")

    def __str__(self) -> str:
        return str(self._files.unstrip_protocol(self._root))

    def check(self) -> None:
        """Write and remove a small file; raises what a checkpoint would meet."""
        path = f"{self._root}/{uuid.uuid4().hex}.probe"
        self._files.pipe_file(path, b"")
        self._files.rm_file(path)

    def push(self, step: int, run: str, files: Mapping[str, Path]) -> None:
        """Copy the files of a checkpoint; it can be pulled when this returns, the one before until then.

        Names may hold folders. Of each run the `KEEP` furthest checkpoints stay; other runs' are left alone.
        """
        sums = {name: (path.stat().st_size, _sha256(path)) for name, path in files.items()}
        checkpoint = Checkpoint(step, time.time_ns(), run, sums)
        folder = f"{self._root}/checkpoints/{checkpoint.name}"
        for name, path in files.items():
            self._files.put_file(str(path), f"{folder}/{name}")
        manifest = json.dumps(asdict(checkpoint)).encode()
        self._files.pipe_file(f"{folder}.part", manifest)
        self._files.mv(f"{folder}.part", f"{folder}.json")
        self._prune(checkpoint)

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that are there, the furthest first."""
        found = []
        for path in self._listed():
            if path.endswith(".json"):
                row = json.loads(self._files.cat_file(path))
                files = {name: (int(size), str(digest)) for name, (size, digest) in row["files"].items()}
                found.append(Checkpoint(int(row["step"]), int(row["time"]), str(row["run"]), files))
        return sorted(found, key=lambda checkpoint: checkpoint.name, reverse=True)

    def pull(self, folder: Path) -> Checkpoint | None:
        """Put the furthest whole checkpoint and the logs into `folder`; None where the mirror holds none.

        Files appear whole and in the order they were pushed in. A checkpoint whose files are missing or
        damaged is passed over for the one before; raises MirrorError when none is whole.
        """
        known = self.checkpoints()
        for checkpoint in known:
            if self._fetch(checkpoint, folder):
                self._pull_logs(folder)
                return checkpoint
        if known:
            raise MirrorError(f"no checkpoint in {self} is whole")
        return None

    def push_log(self, name: str, path: Path) -> None:
        """Copy a log file, whole under its name or not at all."""
        target = f"{self._root}/logs/{name}"
        self._files.put_file(str(path), f"{target}.part")
        self._files.mv(f"{target}.part", target)

    def _pull_logs(self, folder: Path) -> None:
        base = f"{self._root}/logs"
        try:
            found = self._files.find(base)
        except FileNotFoundError:
            return
        for path in found:
            name = PurePosixPath(path).relative_to(PurePosixPath(self._files._strip_protocol(base)))
            local = folder / name
            if local.suffix != ".part" and not local.exists():
                local.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(path, str(local))

    def _fetch(self, checkpoint: Checkpoint, folder: Path) -> bool:
        restored = folder / _RESTORE
        shutil.rmtree(restored, ignore_errors=True)
        for name, (size, digest) in checkpoint.files.items():
            local = restored / name
            local.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._files.get_file(f"{self._root}/checkpoints/{checkpoint.name}/{name}", str(local))
            except FileNotFoundError:
                return False
            if local.stat().st_size != size or _sha256(local) != digest:
                return False
        for entry in dict.fromkeys(PurePosixPath(name).parts[0] for name in checkpoint.files):
            if (folder / entry).is_dir():
                shutil.rmtree(folder / entry)
            (restored / entry).replace(folder / entry)
        shutil.rmtree(restored)
        return True

    def _prune(self, pushed: Checkpoint) -> None:
        """Remove this run's older checkpoints and what broken uploads left, manifests first."""
        own = [path for path in self._listed() if _stem(path).endswith(f"-{pushed.run}")]
        manifests = sorted((path for path in own if path.endswith(".json")), reverse=True)
        kept = {pushed.name, *(_stem(path) for path in manifests[:KEEP])}
        for path in manifests:
            if _stem(path) not in kept:
                self._files.rm_file(path)
        for path in own:
            if not path.endswith(".json") and _stem(path) not in kept:
                self._files.rm(path, recursive=True)

    def _listed(self) -> list[str]:
        self._files.invalidate_cache()
        try:
            return [str(path) for path in self._files.ls(f"{self._root}/checkpoints", detail=False)]
        except FileNotFoundError:
            return []


def _stem(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1].split(".", 1)[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
