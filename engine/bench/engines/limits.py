"""What the machine can do at most: bytes read a second from a buffer of the model's size, products a second.

And what one token of a model needs of both. Measured with numpy's BLAS on a CPU, with torch on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 1024
GEMM_SIZE = 1536
GPU_GEMM_SIZE = 8192
CACHE_DEFEATING_MB = 256
TRY_SECONDS = 0.4


@dataclass(frozen=True)
class Limits:
    """`read_gb_s[megabytes]` while multiplying a matrix of that size by a vector; `gflop_s` of a product."""

    read_gb_s: Mapping[int, float]
    memory_gb_s: float
    gflop_s: float

    def best(self, other: Limits) -> Limits:
        """Return the higher of both figures everywhere: a limit can only be measured too low."""
        read = {size: max(speed, other.read_gb_s.get(size, 0.0)) for size, speed in self.read_gb_s.items()}
        memory = max(self.memory_gb_s, other.memory_gb_s)
        return Limits(read, memory, max(self.gflop_s, other.gflop_s))


@dataclass(frozen=True)
class Shape:
    """What of a causal model's config.json the cost of a token follows from."""

    weights: int
    """Weights that every token is multiplied with: all but an embedding table of its own."""
    layers: int
    heads: int
    kv_heads: int
    head_size: int

    @classmethod
    def of(cls, config: Mapping[str, Any], parameters: int) -> Shape:
        """Read the shape of a Llama- or GPT-2-like model that has so many parameters."""
        hidden = int(_first(config, "hidden_size", "n_embd"))
        heads = int(_first(config, "num_attention_heads", "n_head"))
        apart = not config.get("tie_word_embeddings", True)
        weights = parameters - (int(config["vocab_size"]) * hidden if apart else 0)
        return cls(
            weights=max(weights, 1),
            layers=int(_first(config, "num_hidden_layers", "n_layer")),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
        )

    def bytes_per_token(self, weight_bytes: float, cache_bytes: float, together: int, length: float) -> float:
        """Return bytes read for a token when `together` rows of `length` tokens (mean) share the weights.

        `weight_bytes` and `cache_bytes` are the sizes of one weight and of one number in the cache.
        """
        cache = 2 * self.layers * self.kv_heads * self.head_size * length * cache_bytes
        return self.weights * weight_bytes / together + cache

    def flops_per_token(self, prompt: float, new: float) -> float:
        """Return floating point operations a new token, the prompt's shared out among `new` tokens."""
        attention = 4 * self.layers * self.heads * self.head_size * (prompt + new) / 2
        return (2 * self.weights + attention) * (prompt + new) / new


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next(config[name] for name in names if name in config)


def measure(device: str, threads: int, megabytes: Sequence[int]) -> Limits:
    """Measure for buffers of these sizes (a few seconds). Runs in a child process."""
    from engine.bench.engines.child import limit_threads

    limit_threads(threads)
    gemv, gemm, size = (_gpu if device == "cuda" else _cpu)()
    read = {mb: mb * 2**20 / _seconds(gemv(mb)) / 1e9 for mb in {*megabytes, CACHE_DEFEATING_MB}}
    return Limits(read, read[CACHE_DEFEATING_MB], 2 * size**3 / _seconds(gemm) / 1e9)


def _cpu() -> tuple[Callable[[int], Callable[[], Any]], Callable[[], Any], int]:
    import numpy as np

    numbers = np.random.default_rng(0)

    def gemv(megabytes: int) -> Callable[[], Any]:
        matrix = numbers.random((megabytes * 2**20 // 4 // WIDTH, WIDTH), dtype=np.float32)
        vector = numbers.random(WIDTH, dtype=np.float32)
        return lambda: matrix @ vector

    square = numbers.random((GEMM_SIZE, GEMM_SIZE), dtype=np.float32)
    return gemv, lambda: square @ square, GEMM_SIZE


def _gpu() -> tuple[Callable[[int], Callable[[], Any]], Callable[[], Any], int]:
    import torch

    def finished(product: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            product()
            torch.cuda.synchronize()

        return run

    def gemv(megabytes: int) -> Callable[[], Any]:
        rows = megabytes * 2**20 // 2 // WIDTH
        matrix = torch.rand((rows, WIDTH), dtype=torch.bfloat16, device="cuda")
        vector = torch.rand(WIDTH, dtype=torch.bfloat16, device="cuda")
        return finished(lambda: matrix @ vector)

    square = torch.rand((GPU_GEMM_SIZE, GPU_GEMM_SIZE), dtype=torch.bfloat16, device="cuda")
    return gemv, finished(lambda: square @ square), GPU_GEMM_SIZE


def _seconds(work: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of many calls: other programs spoil only some of them."""
    work()
    best, until = float("inf"), time.perf_counter() + TRY_SECONDS
    while (began := time.perf_counter()) < until:
        work()
        best = min(best, time.perf_counter() - began)
    return best
