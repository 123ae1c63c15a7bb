"""The ONNX backend: logits of transformers, bitwise the same alone and among others, built without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from engine.backends.onnx_causal import OnnxBackend
from engine.backends.onnx_graph import UnknownLayout, build
from engine.backends.onnx_weights import read_weights
from engine.registry import SHIPPED

VOCABULARY = 97
CONTEXT = 640
BITS = ("float32", "8bit", "8bit cache", "integers")
Model = Any
Floats = np.ndarray[Any, Any]

SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def _gpt2() -> Model:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=48,
            n_layer=2,
            n_head=3,
            n_positions=CONTEXT,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def _biased(model: Model) -> Model:
    """Give all biases a value: a model begins with zeros."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model


LAYOUTS: dict[str, Callable[[], Model]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=False)),
    "llama tied, biases, wide heads": lambda: _biased(
        LlamaForCausalLM(
            LlamaConfig(**SMALL, head_dim=24, tie_word_embeddings=True, attention_bias=True, mlp_bias=True)
        )
    ),
    "llama 3 rotary": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, rope_parameters=LLAMA3)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)),
    "qwen2": lambda: _biased(Qwen2ForCausalLM(Qwen2Config(**SMALL))),
    "gpt2": lambda: _biased(_gpt2()),
}


def saved(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Model:
    """Save a small model with random weights and return it as transformers reads it, in float32."""
    torch.manual_seed(0)
    LAYOUTS[name]().to(dtype).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def backend_of(folder: Path, bits: str = "float32", context: int = CONTEXT) -> OnnxBackend:
    """Return a backend with weights and cache of float32, "8bit" weights, "8bit cache", "integers"."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = read_weights(folder)
    quantised = bits != "float32"
    graph = build(config, weights, context=context, quantised=quantised)
    if bits in ("8bit cache", "integers"):
        steps = np.full((graph.layers, 2, graph.kv_heads, graph.head_dim), 0.05, dtype=np.float32)
        graph = build(
            config,
            weights,
            context=context,
            quantised=True,
            cache_steps=steps,
            integers=bits == "integers",
        )
    return OnnxBackend(graph, context, threads=2)


def plain(model: Model, text: list[int]) -> Floats:
    with torch.inference_mode():
        out: Floats = model(torch.tensor([text])).logits[0, -1].numpy()
        return out


class Rows:
    """Texts of random tokens that are stepped together, row i in slot i."""

    def __init__(self, backend: OnnxBackend, lengths: list[int]) -> None:
        self.backend = backend
        numbers = [np.random.default_rng(row) for row in range(len(lengths))]
        self.texts = [
            list(numbers[row].integers(0, VOCABULARY, length)) for row, length in enumerate(lengths)
        ]
        self.numbers = numbers

    def join(self, rows: list[int]) -> Floats:
        """Compute the prompts of some rows in one call."""
        texts = [self.texts[row] for row in rows]
        lengths = [len(text) for text in texts]
        return self.backend.step(
            np.concatenate(texts),
            np.repeat(rows, lengths),
            np.concatenate([np.arange(length) for length in lengths]),
            np.cumsum(lengths) - 1,
        )

    def step(self, rows: list[int]) -> Floats:
        """Append to each of some rows a token that is its own whatever the others get, and step them."""
        tokens = np.array([self.numbers[row].integers(0, VOCABULARY) for row in rows])
        for row, token in zip(rows, tokens, strict=True):
            self.texts[row].append(int(token))
        positions = np.array([len(self.texts[row]) - 1 for row in rows])
        return self.backend.step(tokens, np.array(rows), positions, np.arange(len(rows)))


@pytest.mark.parametrize("name", LAYOUTS)
class TestLogits:
    def test_they_are_those_of_transformers(self, name: str, tmp_path: Path) -> None:
        model = saved(name, tmp_path)
        rows = Rows(backend_of(tmp_path, "float32"), [5, 33, 1, 70])
        found = rows.join([0, 1, 2, 3])
        for number in range(4):
            for row in range(4):
                assert np.abs(found[row] - plain(model, rows.texts[row])).max() < 1e-4, (number, row)
            found = rows.step([0, 1, 2, 3])

    def test_eight_bits_stay_near(self, name: str, tmp_path: Path) -> None:
        model = saved(name, tmp_path)
        for bits in BITS[1:]:
            rows = Rows(backend_of(tmp_path, bits), [30])
            rows.join([0])
            found, wanted = rows.step([0])[0], plain(model, rows.texts[0])
            assert np.corrcoef(found, wanted)[0, 1] > 0.98, bits


class TestShippedModel:
    def test_logits_are_those_of_transformers(self) -> None:
        folder = SHIPPED / "storyteller"
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        rows = Rows(backend_of(folder, "float32", context=512), [40, 7])
        found = rows.join([0, 1])
        for _ in range(3):
            for row in (0, 1):
                assert np.abs(found[row] - plain(model, rows.texts[row])).max() < 1e-4
            found = rows.step([0, 1])


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
class TestRowsApart:
    """A row's logits are bitwise the same whatever shares its batch."""

    def alone(self, folder: Path, bits: str) -> list[Floats]:
        rows = Rows(backend_of(folder, bits), [9])
        return [rows.join([0])[0], *(rows.step([0])[0] for _ in range(6))]

    @pytest.mark.parametrize("count", [2, 3, 5, 8, 17, 32])
    def test_among_others(self, name: str, bits: str, count: int, tmp_path: Path) -> None:
        saved(name, tmp_path)
        expected = self.alone(tmp_path, bits)
        crowd = list(range(count))
        rows = Rows(backend_of(tmp_path, bits), [9, *(1 + 7 * row for row in crowd[1:])])
        found = [rows.join(crowd)[0], *(rows.step(crowd)[0] for _ in range(6))]
        assert np.array_equal(np.stack(found), np.stack(expected))

    def test_after_copies_and_moves(self, name: str, bits: str, tmp_path: Path) -> None:
        saved(name, tmp_path)
        expected = self.alone(tmp_path, bits)
        rows = Rows(backend_of(tmp_path, bits), [9, 20, 0, 0])
        found = [rows.join([0, 1])[0], rows.step([0, 1])[0]]
        # To the third slot, then to one that others used before, with a shared prompt on the way.
        rows.backend.copy(0, [2, 3], 10)
        rows.texts[2], rows.numbers[2] = rows.texts[0], rows.numbers[0]
        rows.texts[3] = list(rows.texts[0])
        found.append(rows.step([0, 1, 2, 3][1:])[1])
        found.append(rows.step([1, 2, 3])[1])
        rows.backend.copy(2, [1], 12)
        rows.texts[1], rows.numbers[1] = rows.texts[2], rows.numbers[2]
        found += [rows.step([1])[0] for _ in range(3)]
        assert np.array_equal(np.stack(found), np.stack(expected))

    def test_while_the_cache_grows_and_prompts_join(self, name: str, bits: str, tmp_path: Path) -> None:
        saved(name, tmp_path)
        expected = self.alone(tmp_path, bits)
        rows = Rows(backend_of(tmp_path, bits), [9, 3, *[4] * 7, 600])
        found = [rows.join([0])[0], rows.step([0])[0]]
        rows.join([1])
        found.append(rows.step([0, 1])[0])
        rows.join(list(range(2, 9)))
        found.append(rows.step(list(range(9)))[0])
        rows.join([9])
        found += [rows.step(list(range(10)))[0] for _ in range(3)]
        assert np.array_equal(np.stack(found), np.stack(expected))


class TestFaults:
    @pytest.mark.parametrize("bits", BITS)
    def test_nan_stays_in_its_row_and_does_not_outlive_it(self, bits: str, tmp_path: Path) -> None:
        model = saved("llama", tmp_path)
        whole = Rows(backend_of(tmp_path, bits), [1, 9])
        whole.join([0])
        expected = [whole.join([1])[0], whole.step([1])[0], whole.step([1])[0]]
        with torch.no_grad():
            model.get_input_embeddings().weight[96] = float("nan")
        model.save_pretrained(tmp_path)
        rows = Rows(backend_of(tmp_path, bits), [1, 9])
        assert 96 not in rows.texts[1]
        rows.texts[0] = [*range(1, 60), 96]
        both = rows.join([0, 1])
        assert np.isnan(both[0]).all()
        assert np.array_equal(both[1], expected[0])
        both = rows.step([0, 1])
        assert np.array_equal(both[1], expected[1])
        rows.backend.copy(1, [0], 10)
        rows.texts[0], rows.numbers[0] = rows.texts[1], rows.numbers[1]
        assert np.array_equal(rows.step([0])[0], expected[2])
        rows = Rows(rows.backend, [1, 9])
        rows.texts[0] = [*range(1, 60), 96]
        rows.join([0])
        rows.texts[0], rows.numbers[0] = rows.texts[1], rows.numbers[1]
        assert np.array_equal(rows.join([0])[0], expected[0])
        assert np.array_equal(rows.step([0])[0], expected[1])

    def test_chunks_of_a_running_row_are_refused(self, tmp_path: Path) -> None:
        saved("llama", tmp_path)
        backend = backend_of(tmp_path, "8bit")
        Rows(backend, [4]).join([0])
        with pytest.raises(ValueError, match="one token"):
            backend.step(np.array([1, 2]), np.array([0, 0]), np.array([4, 5]), np.array([1]))


class TestWeights:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_read(self, dtype: torch.dtype, tmp_path: Path) -> None:
        model = saved("llama", tmp_path, dtype)
        rows = Rows(backend_of(tmp_path, "float32"), [12])
        assert np.abs(rows.join([0])[0] - plain(model, rows.texts[0])).max() < 1e-4

    def test_several_files_are_read(self, tmp_path: Path) -> None:
        model = saved("llama", tmp_path)
        (tmp_path / "model.safetensors").unlink()
        model.save_pretrained(tmp_path, max_shard_size="50KB")
        assert len(list(tmp_path.glob("*.safetensors"))) > 1
        rows = Rows(backend_of(tmp_path, "float32"), [12])
        assert np.abs(rows.join([0])[0] - plain(model, rows.texts[0])).max() < 1e-4

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"hidden_act": "gelu"}, "hidden_act"),
            ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
            ({"architectures": ["FalconForCausalLM"]}, "FalconForCausalLM"),
            ({"num_hidden_layers": 1}, r"layers\.1"),
            ({"num_hidden_layers": 3}, "missing"),
        ],
    )
    def test_another_arrangement_is_refused(self, change: dict[str, Any], why: str, tmp_path: Path) -> None:
        model = saved("llama", tmp_path)
        config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) | change
        assert model is not None
        with pytest.raises(UnknownLayout, match=why):
            build(config, read_weights(tmp_path), context=CONTEXT, quantised=True)
