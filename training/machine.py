"""What the machine can do: device, threads, bf16. Knows nothing of models or data."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """Device name, CPU threads, whether matrix products run in bf16, whether the network is compiled."""

    device: str
    threads: int
    bf16: bool
    compiled: bool = False


def detect(threads: int | None = None, *, compile_network: bool | None = None) -> Machine:
    """Detect device and bf16 and set torch's thread count.

    bf16 is used on CUDA and on CPUs that multiply in it (avx512_bf16 or AMX); elsewhere it is emulated,
    three to four times slower than fp32. The network is compiled on a CPU that has a C++ compiler, unless
    `compile_network` is False: a minute at the start, a quarter more tokens a second after it. On CUDA it is
    compiled only when `compile_network` is True.
    """
    count = threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or 2
    torch.set_num_threads(count)
    if torch.cuda.is_available():
        return Machine("cuda", count, torch.cuda.is_bf16_supported(), bool(compile_network))
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    compiled = compile_network is not False and any(shutil.which(name) for name in compilers)
    flags = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        line = next((x for x in cpuinfo.read_text().splitlines() if x.startswith("flags")), "")
        flags = set(line.split())
    return Machine("cpu", count, bool(flags & {"avx512_bf16", "amx_bf16"}), compiled)
