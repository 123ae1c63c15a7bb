"""The ONNX graph of a causal model, built from `config.json` and its weights without torch.

A graph computes one call of the step backend: tokens and their place in, logits and the grown keys and
values out. Operators of ONNX Runtime's own domain do the work: GroupQueryAttention over a cache of fixed
size, MatMulNBits for 8-bit weights. Knows nothing of sessions, slots or sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, ValueInfoProto, helper

from engine.backends.onnx_layouts import Config, UnknownLayout, body
from engine.backends.onnx_nodes import INLINE_BYTES, MICROSOFT, Nodes
from engine.backends.onnx_weights import Floats

__all__ = ["Graph", "UnknownLayout", "build"]

OPSET = 20
IR_VERSION = 10


@dataclass(frozen=True)
class Graph:
    """A graph and what its caller must know of it.

    Inputs: `tokens` int64 [rows, length]; `positions` int64 [rows, length] where `positions` is true;
    `last_positions` int32 [rows], where the last token of each row stands; `longest` int32, the largest of
    these + 1; `picks` int64 [n], indices into length for which logits are wanted; `past_key_i` and
    `past_value_i` [rows, kv_heads, room, head_dim], float32 or, with an `eight_bit_cache`, int8. Outputs:
    `logits` float32 [rows, n, vocabulary]; `key_i` and `value_i`, which may be the buffers of the inputs.
    `arrays` are the large constants, by name.
    """

    model: bytes
    arrays: dict[str, npt.NDArray[np.generic]]
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    positions: bool
    eight_bit_cache: bool


def build(
    config: Config,
    weights: Mapping[str, Floats],
    *,
    context: int,
    quantised: bool,
    cache_steps: Floats | None = None,
    integers: bool = False,
) -> Graph:
    """Return the graph of a checkpoint for positions 0 … context-1. Raises UnknownLayout.

    `quantised` has 8-bit weights in all linear layers, the head included. With `cache_steps` (see `Nodes`)
    the cache holds 8-bit keys and values. `integers` (see `Nodes`) leaves the head in blocks, since a number
    that is none would get lost on the way to the logits.
    """
    nodes = Nodes(weights, quantised, cache_steps, integers)
    made = body(config, nodes, context)
    # The head is a large share of a small model's work, and a prompt needs it for its last position only.
    picked = nodes.add("Gather", [made.value, "picks"], axis=1)
    nodes.linear(picked, made.head, output="logits")
    vocabulary = len(made.head)
    inputs = [
        _value("tokens", TensorProto.INT64, "rows", "length"),
        _value("last_positions", TensorProto.INT32, "rows"),
        _value("longest", TensorProto.INT32),
        _value("picks", TensorProto.INT64, "picks"),
    ]
    if made.positions:
        inputs.append(_value("positions", TensorProto.INT64, "rows", "length"))
    outputs = [_value("logits", TensorProto.FLOAT, "rows", "picks", vocabulary)]
    kind = TensorProto.FLOAT if cache_steps is None else TensorProto.INT8
    shape = ("rows", made.attention.kv_heads, "room", made.attention.head_dim)
    for layer in range(made.layers):
        for name in ("key", "value"):
            inputs.append(_value(f"past_{name}_{layer}", kind, *shape))
            outputs.append(_value(f"{name}_{layer}", kind, *shape))
    graph = helper.make_graph(nodes.nodes, "step", inputs, outputs, nodes.constants)
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
    return Graph(
        model=model.SerializeToString(),
        arrays={name: array for name, array in nodes.arrays.items() if array.nbytes > INLINE_BYTES},
        layers=made.layers,
        heads=made.attention.heads,
        kv_heads=made.attention.kv_heads,
        head_dim=made.attention.head_dim,
        vocabulary=vocabulary,
        positions=made.positions,
        eight_bit_cache=cache_steps is not None,
    )


def _value(name: str, kind: int, *shape: str | int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))
