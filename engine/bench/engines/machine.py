"""Facts about the machine that a figure is worth nothing without: processor, instructions, load, versions.

Knows Linux's files; elsewhere it says what the standard library knows.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

# Instructions that fast products of small numbers use.
FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16",
    "asimddp", "i8mm", "bf16",
)  # fmt: skip
LIBRARIES = ("wordtale", "numpy", "onnxruntime", "torch", "transformers", "ctranslate2", "tokenizers")


def facts(threads: int, device: str) -> dict[str, Any]:
    """Return the machine's facts; `load_1_min` above 1 tells that others were busy."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    found: dict[str, Any] = {
        "processor": info.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": threads,
        "device": device,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "passive"),
        "load_1_min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
    }
    if device == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    return found


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
