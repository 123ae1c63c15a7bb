"""Weights of a model directory as float32 arrays, and 8-bit numbers made of them for ONNX Runtime.

Reads safetensors only, one file or several with an index. Knows nothing of graphs or layouts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes  # noqa: F401  (teaches numpy bfloat16, which safetensors asks it for)
import numpy as np
import numpy.typing as npt
from safetensors import safe_open

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# Columns that share a scale: with 128 a row's product depended on its batch, with 64 it never did (measured).
BLOCK = 64

ZERO = 128
LARGEST = 127.0


def read_weights(directory: Path) -> dict[str, Floats]:
    """Return every tensor of a model directory by name, as float32.

    Raises OSError without readable weights, SafetensorError for files that are none.
    """
    found: dict[str, Floats] = {}
    for path in _files(directory):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                found[name] = np.ascontiguousarray(file.get_tensor(name), dtype=np.float32)
    return found


def _files(directory: Path) -> Iterator[Path]:
    index = directory / INDEX
    if index.is_file():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        # Only the last part, so that an index can't point out of its directory.
        yield from (directory / Path(name).name for name in sorted(set(names)))
    else:
        yield directory / SINGLE


@dataclass(frozen=True)
class Blocks:
    """A weight in 8 bits: `values` [outputs, blocks, BLOCK] around ZERO and `scales` [outputs, blocks]."""

    values: Bytes
    scales: Floats


@dataclass(frozen=True)
class Columns:
    """A weight in 8 bits: `values` [inputs, outputs] around 0 and `scales` [outputs]."""

    values: npt.NDArray[np.int8]
    scales: Floats


def columns(weight: Floats) -> Columns:
    """Round a weight [outputs, inputs] to 8 bits, symmetric around 0, with a scale for each output."""
    scales = np.abs(weight).max(axis=1) / np.float32(LARGEST)
    scales[scales == 0] = 1.0
    values = np.rint(weight / scales[:, None])
    return Columns(np.ascontiguousarray(values.astype(np.int8).T), scales)


def blocks(weight: Floats) -> Blocks:
    """Round a weight [outputs, inputs] to 8 bits, symmetric around 0, with a scale for each BLOCK inputs."""
    outputs, inputs = weight.shape
    count = -(-inputs // BLOCK)
    padded = np.zeros((outputs, count * BLOCK), dtype=np.float32)
    padded[:, :inputs] = weight
    grouped = padded.reshape(outputs, count, BLOCK)
    scales = np.abs(grouped).max(axis=2) / np.float32(LARGEST)
    scales[scales == 0] = 1.0
    values = np.rint(grouped / scales[:, :, None]) + ZERO
    return Blocks(values.astype(np.uint8), scales)
