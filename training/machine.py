"""What the machine can do: device, threads, bf16. Knows nothing of models or data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """Device name, CPU threads and whether matrix products run in bf16."""

    device: str
    threads: int
    bf16: bool


def detect(threads: int | None = None) -> Machine:
    """Detect device and bf16 and set torch's thread count.

    bf16 is used on CUDA and on CPUs that multiply in it (avx512_bf16 or AMX); elsewhere it is emulated,
    three to four times slower than fp32.
    """
    count = threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or 2
    torch.set_num_threads(count)
    if torch.cuda.is_available():
        return Machine("cuda", count, torch.cuda.is_bf16_supported())
    flags = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        line = next((x for x in cpuinfo.read_text().splitlines() if x.startswith("flags")), "")
        flags = set(line.split())
    return Machine("cpu", count, bool(flags & {"avx512_bf16", "amx_bf16"}))
