"""The parts that graphs of causal models are made of, as nodes of ONNX Runtime's own operators.

Knows linear layers, norms and attention; nothing of layouts or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper

from engine.backends.onnx_weights import BLOCK, LARGEST, ZERO, Floats, blocks, columns

MICROSOFT = "com.microsoft"
# Activations rounded to 8 bits by row and block: 40 times faster than float32 ones on AVX-512, and the only
# level at which a row among others was bitwise the same as alone (measured).
INT8_ACTIVATIONS = 4
# What 8-bit activations reach to, in root mean squares of their row: the shipped model's reach to 9.5.
REACH = 10.0
# Where GroupQueryAttention takes the steps of an 8-bit cache.
CACHE_STEPS_AT = 12
# Smaller constants stand in the graph itself, where ONNX Runtime may fold them.
INLINE_BYTES = 4096
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.int64): TensorProto.INT64,
}


@dataclass(frozen=True)
class Attention:
    """The shape of one attention layer.

    `scale` multiplies the products of queries and keys; `rotary` holds cos and sin [context, head_dim / 2].
    """

    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    rotary: tuple[Floats, Floats] | None = None


@dataclass
class Nodes:
    """A graph being written. `quantised` linear layers have 8-bit weights.

    With `integers` those that follow a root mean square norm are products of 8-bit integers: their sums are
    exact, so that no batch can move a row, and from 4 rows on they take a third less time than blocks.
    `cache_steps` [layers, 2, kv_heads, head_dim] are what one step of an 8-bit cache is worth, for keys and
    values; None for a float32 cache. `used` are the names of weights taken, `arrays` the large constants by
    name, kept out of the graph.
    """

    weights: Mapping[str, Floats]
    quantised: bool
    cache_steps: Floats | None = None
    integers: bool = False
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    arrays: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    _names: dict[int, str] = field(default_factory=dict)

    def weight(self, name: str) -> Floats:
        """Take a weight of the checkpoint. Raises KeyError."""
        self.used.add(name)
        return self.weights[name]

    def optional(self, name: str) -> Floats | None:
        """Take a weight where the checkpoint has it."""
        return self.weight(name) if name in self.weights else None

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        """Put an array into the graph, the same array once, and return its name."""
        if id(value) in self._names:
            return self._names[id(value)]
        name = self._names[id(value)] = f"constant_{len(self._names)}"
        value = np.ascontiguousarray(value)
        tensor = TensorProto(name=name, data_type=TYPES[value.dtype], dims=value.shape)
        if value.nbytes <= INLINE_BYTES:
            tensor.raw_data = value.tobytes()
        else:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=name)
        # Kept in either case: `_names` goes by identity, which ends with the array.
        self.arrays[name] = value
        self.constants.append(tensor)
        return name

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        domain: str = "",
        **settings: Any,
    ) -> str:
        """Add a node and return its first output, which gets a name of its own unless given."""
        number = len(self.nodes)
        made = list(outputs) or [f"out_{number}"]
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        self.nodes.append(
            helper.make_node(kind, given, made, domain=domain, name=f"{kind}_{number}", **settings)
        )
        return made[0]

    def linear(self, value: str, weight: Floats, bias: Floats | None = None, output: str = "") -> str:
        """Multiply by a weight [outputs, inputs] and add a bias [outputs]."""
        outputs = [output] if output else []
        added = "" if bias is None else self.constant(bias)
        if self.quantised:
            packed = blocks(weight)
            scales = self.constant(packed.scales.reshape(-1))
            return self.add(
                "MatMulNBits",
                [value, self.constant(packed.values), scales, "", "", added],
                outputs,
                MICROSOFT,
                N=weight.shape[0],
                K=weight.shape[1],
                bits=8,
                block_size=BLOCK,
                accuracy_level=INT8_ACTIVATIONS,
            )
        turned = self.constant(np.ascontiguousarray(weight.T))
        if bias is None:
            return self.add("MatMul", [value, turned], outputs)
        return self.add("Add", [self.add("MatMul", [value, turned]), added], outputs)

    def integer_linear(self, value: str, weight: Floats, bias: Floats | None = None) -> str:
        """Multiply rows with a root mean square of 1, rounded to 8 bits, by a weight [outputs, inputs]."""
        packed = columns(weight)
        step = self.constant(np.array(REACH / LARGEST, dtype=np.float32))
        zero = self.constant(np.array(ZERO, dtype=np.uint8))
        rounded = self.add("QuantizeLinear", [value, step, zero])
        added = "" if bias is None else self.constant(bias)
        return self.add(
            "MatMulIntegerToFloat",
            [rounded, self.constant(packed.values), step, self.constant(packed.scales), zero, "", added],
            domain=MICROSOFT,
        )

    def attention(self, qkv: str, layer: int, shape: Attention) -> str:
        """Attend over the cache of a layer, which grows by the keys and values in `qkv`.

        `qkv` [rows, length, (heads + 2 kv_heads) head_dim] holds queries, keys and values side by side.
        """
        rotary = [self.constant(table) for table in shape.rotary or ()]
        out = f"attention_{layer}"
        inputs = [
            qkv,
            "",
            "",
            f"past_key_{layer}",
            f"past_value_{layer}",
            "last_positions",
            "longest",
            *rotary,
        ]
        settings: dict[str, Any] = {}
        if self.cache_steps is not None:
            inputs += [""] * (CACHE_STEPS_AT - len(inputs))
            inputs += [self.constant(steps.reshape(-1)) for steps in self.cache_steps[layer]]
            settings = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}
        return self.add(
            "GroupQueryAttention",
            inputs,
            [out, f"key_{layer}", f"value_{layer}"],
            MICROSOFT,
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            scale=shape.scale,
            do_rotary=int(bool(rotary)),
            **settings,
        )
