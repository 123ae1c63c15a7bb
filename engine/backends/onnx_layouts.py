"""How the layers of known checkpoints are arranged: the Llama layout (Llama, Mistral, Qwen 2) and GPT-2's.

A layout reads `config.json` strictly: a setting or a weight that it doesn't know means another arrangement,
and a wrong guess would tell nonsense without an error. Knows nothing of sessions or of caches' places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.backends.onnx_nodes import MICROSOFT, Attention, Nodes
from engine.backends.onnx_weights import Floats

Config = Mapping[str, Any]

# ONNX Runtime's rotary positions take heads of a multiple of this size; others get zeros.
ROTARY_STEP = 16


class UnknownLayout(Exception):
    """Why no graph can be built for a checkpoint, in half a sentence."""


@dataclass(frozen=True)
class Body:
    """The layers of a model in `Nodes`: their normed result [rows, length, hidden] and the head's weight."""

    value: str
    head: Floats
    layers: int
    attention: Attention
    positions: bool
    """Whether the graph has an input `positions` [rows, length] for a table of learned positions."""


def body(config: Config, nodes: Nodes, context: int) -> Body:
    """Write the layers of a checkpoint into `nodes`. Raises UnknownLayout."""
    architecture = str((config.get("architectures") or ["none"])[0])
    writer = LAYOUTS.get(architecture)
    if writer is None:
        raise UnknownLayout(f"no layout for {architecture} is known")
    try:
        made = writer(config, nodes, context)
    except KeyError as error:
        raise UnknownLayout(f"{error.args[0]} is missing") from error
    left = sorted(name for name in nodes.weights if name not in nodes.used and not name.endswith(BUFFERS))
    if left:
        raise UnknownLayout(f"{left[0]} has no place in the layout of {architecture}")
    return made


# Constants that old checkpoints saved beside their weights.
BUFFERS = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")


def _llama(config: Config, nodes: Nodes, context: int) -> Body:
    _require(config, hidden_act=("silu",), use_sliding_window=(False,), partial_rotary_factor=(1, 1.0))
    if config.get("model_type") == "mistral":
        _require(config, sliding_window=())
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    wide = -(-head_dim // ROTARY_STEP) * ROTARY_STEP
    rotary = _rotary(config, head_dim, wide, context)
    shape = Attention(heads, kv_heads, wide, 1 / math.sqrt(head_dim), rotary)
    epsilon = float(config["rms_norm_eps"])
    table = nodes.weight("model.embed_tokens.weight")
    residual = nodes.add("Gather", [nodes.constant(table), "tokens"])
    layers = int(config["num_hidden_layers"])
    value, change = "", ""
    for layer in range(layers):
        at = f"model.layers.{layer}."
        before = nodes.weight(f"{at}input_layernorm.weight")
        value, residual = _rms_norm(nodes, residual, change, _own_gain(nodes, before), epsilon)
        qkv = [_linear_of(nodes, f"{at}self_attn.{name}_proj") for name in "qkv"]
        qkv = [
            (_widened(w, head_dim, wide), None if b is None else _widened(b, head_dim, wide)) for w, b in qkv
        ]
        mixed = nodes.attention(_joined(nodes, value, qkv, before), layer, shape)
        weight, bias = _linear_of(nodes, f"{at}self_attn.o_proj")
        change = nodes.linear(mixed, _widened(weight.T, head_dim, wide).T, bias)
        between = nodes.weight(f"{at}post_attention_layernorm.weight")
        value, residual = _rms_norm(nodes, residual, change, _own_gain(nodes, between), epsilon)
        gates = [_linear_of(nodes, f"{at}mlp.{name}_proj") for name in ("gate", "up")]
        both = _joined(nodes, value, gates, between)
        gate, up = f"gate_{layer}", f"up_{layer}"
        nodes.add("Split", [both], [gate, up], axis=-1, num_outputs=2)
        # x · sigmoid(x), which ONNX Runtime has in one operator under this name.
        gated = nodes.add("QuickGelu", [gate], domain=MICROSOFT, alpha=1.0)
        inner = nodes.add("Mul", [gated, up])
        change = nodes.linear(inner, *_linear_of(nodes, f"{at}mlp.down_proj"))
    value, _ = _rms_norm(nodes, residual, change, nodes.weight("model.norm.weight"), epsilon)
    return Body(value, _head(config, nodes, table), layers, shape, positions=False)


def _gpt2(config: Config, nodes: Nodes, context: int) -> Body:
    _require(
        config,
        activation_function=tuple(ACTIVATIONS),
        scale_attn_weights=(True,),
        scale_attn_by_inverse_layer_idx=(False,),
        add_cross_attention=(False,),
    )
    activation = ACTIVATIONS[config.get("activation_function", "gelu_new")]
    root = "transformer." if "transformer.wte.weight" in nodes.weights else ""
    heads = int(config["n_head"])
    head_dim = int(config["n_embd"]) // heads
    shape = Attention(heads, heads, head_dim, 1 / math.sqrt(head_dim))
    epsilon = float(config.get("layer_norm_epsilon", 1e-5))
    table, places = nodes.weight(f"{root}wte.weight"), nodes.weight(f"{root}wpe.weight")
    residual = nodes.add("Gather", [nodes.constant(table), "tokens"])
    change = nodes.add("Gather", [nodes.constant(places), "positions"])
    layers = int(config["n_layer"])
    for layer in range(layers):
        at = f"{root}h.{layer}."
        value, residual = _layer_norm(nodes, residual, change, f"{at}ln_1", epsilon)
        qkv = nodes.linear(value, *_convolution(nodes, f"{at}attn.c_attn"))
        mixed = nodes.attention(qkv, layer, shape)
        change = nodes.linear(mixed, *_convolution(nodes, f"{at}attn.c_proj"))
        value, residual = _layer_norm(nodes, residual, change, f"{at}ln_2", epsilon)
        inner = activation(nodes, nodes.linear(value, *_convolution(nodes, f"{at}mlp.c_fc")))
        change = nodes.linear(inner, *_convolution(nodes, f"{at}mlp.c_proj"))
    value, _ = _layer_norm(nodes, residual, change, f"{root}ln_f", epsilon)
    return Body(value, _head(config, nodes, table), layers, shape, positions=True)


LAYOUTS: dict[str, Callable[[Config, Nodes, int], Body]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _llama,
    "Qwen2ForCausalLM": _llama,
    "GPT2LMHeadModel": _gpt2,
}
ACTIVATIONS: dict[str, Callable[[Nodes, str], str]] = {
    "gelu_new": lambda nodes, value: nodes.add("FastGelu", [value], domain=MICROSOFT),
    "gelu_pytorch_tanh": lambda nodes, value: nodes.add("FastGelu", [value], domain=MICROSOFT),
    "gelu": lambda nodes, value: nodes.add("Gelu", [value], domain=MICROSOFT),
    "relu": lambda nodes, value: nodes.add("Relu", [value]),
}


def _require(config: Config, **allowed: tuple[object, ...]) -> None:
    for name, values in allowed.items():
        found = config.get(name)
        if found is not None and found not in values:
            raise UnknownLayout(f"{name} {found!r} is not known")


def _head(config: Config, nodes: Nodes, table: Floats) -> Floats:
    own = nodes.optional("lm_head.weight")
    tied = config.get("tie_word_embeddings", config.get("model_type") == "gpt2")
    if own is None and not tied:
        raise KeyError("lm_head.weight")
    return table if tied or own is None else own


def _linear_of(nodes: Nodes, name: str) -> tuple[Floats, Floats | None]:
    return nodes.weight(f"{name}.weight"), nodes.optional(f"{name}.bias")


def _convolution(nodes: Nodes, name: str) -> tuple[Floats, Floats]:
    """Take a weight that GPT-2 stores as [inputs, outputs]."""
    return np.ascontiguousarray(nodes.weight(f"{name}.weight").T), nodes.weight(f"{name}.bias")


def _joined(nodes: Nodes, value: str, parts: list[tuple[Floats, Floats | None]], gain: Floats) -> str:
    """Multiply what `_rms_norm` made with `_own_gain` of a gain by several weights in one product."""
    weight = np.concatenate([weight for weight, _ in parts])
    biases = [np.zeros(len(weight), np.float32) if bias is None else bias for weight, bias in parts]
    bias = None if all(bias is None for _, bias in parts) else np.concatenate(biases)
    if nodes.integers:
        return nodes.integer_linear(value, weight * gain, bias)
    return nodes.linear(value, weight, bias)


def _own_gain(nodes: Nodes, gain: Floats) -> Floats:
    """Return the gain of a norm before `_joined`: integers have it in their weights."""
    return np.ones_like(gain) if nodes.integers else gain


def _rms_norm(nodes: Nodes, residual: str, change: str, gain: Floats, epsilon: float) -> tuple[str, str]:
    """Return the normed sum of residual and change, and the sum; both are [rows, length, hidden]."""
    scale = nodes.constant(gain)
    if not change:
        kind = "SimplifiedLayerNormalization"
        return nodes.add(kind, [residual, scale], axis=-1, epsilon=epsilon), residual
    total = f"residual_{len(nodes.nodes)}"
    value = f"normed_{len(nodes.nodes)}"
    kind = "SkipSimplifiedLayerNormalization"
    nodes.add(kind, [residual, change, scale], [value, "", "", total], MICROSOFT, epsilon=epsilon)
    return value, total


def _layer_norm(nodes: Nodes, residual: str, change: str, name: str, epsilon: float) -> tuple[str, str]:
    scale, shift = (nodes.constant(nodes.weight(f"{name}.{part}")) for part in ("weight", "bias"))
    total = f"residual_{len(nodes.nodes)}"
    value = f"normed_{len(nodes.nodes)}"
    kind = "SkipLayerNormalization"
    nodes.add(kind, [residual, change, scale, shift], [value, "", "", total], MICROSOFT, epsilon=epsilon)
    return value, total


def _widened(weight: Floats, head_dim: int, wide: int) -> Floats:
    """Fill each head's `head_dim` rows of a weight or bias up to `wide` with zeros, half by half.

    Rotary positions turn row i with row i + head_dim / 2, so both halves must keep their partners.
    """
    if wide == head_dim:
        return weight
    halves = weight.reshape(-1, 2, head_dim // 2, *weight.shape[1:])
    room = [(0, 0), (0, 0), (0, (wide - head_dim) // 2), *[(0, 0)] * (weight.ndim - 1)]
    return np.pad(halves, room).reshape(-1, *weight.shape[1:])


def _rotary(config: Config, head_dim: int, wide: int, context: int) -> tuple[Floats, Floats]:
    """Return cos and sin [context, wide / 2] of rotary positions. Raises UnknownLayout."""
    settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = float(settings.get("rope_theta") or config.get("rope_theta") or 10000.0)
    kind = settings.get("rope_type") or settings.get("type") or "default"
    speed = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if kind == "linear":
        speed = speed / float(settings["factor"])
    elif kind == "llama3":
        speed = _llama3(speed, settings)
    elif kind != "default":
        raise UnknownLayout(f"rotary positions of type {kind} are not known")
    angle = np.outer(np.arange(context), np.pad(speed, (0, (wide - head_dim) // 2)))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _llama3(speed: np.ndarray[Any, Any], settings: Config) -> np.ndarray[Any, Any]:
    """Slow long waves down as Llama 3.1 does (transformers, modeling_rope_utils, llama3)."""
    factor, low, high = (float(settings[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    waves = settings["original_max_position_embeddings"] * speed / (2 * math.pi)
    share = np.clip((waves - low) / (high - low), 0.0, 1.0)
    mixed: np.ndarray[Any, Any] = (1 - share) * speed / factor + share * speed
    return mixed
