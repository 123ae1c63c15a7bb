"""Which backend a model gets: ONNX Runtime where it fits, torch where not, a sentence where neither can."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from structlog.testing import capture_logs

from engine.backends import onnx_nodes
from engine.backends.onnx_causal import OnnxBackend
from engine.backends.onnx_weights import read_weights
from engine.config import EngineSettings
from engine.errors import ModelRefused, UnsupportedSetting
from engine.loading import LoadedModel, load
from engine.registry import SHIPPED, Registry, read_card
from engine.reranking import tokenizer_digest
from engine.schema import Decoding, PlainRequest, StoryRequest
from engine.telling import prepare, prepare_plain
from tests import tiny_model


def loaded(folder: Path, **options: Any) -> LoadedModel:
    return load(read_card(folder), device=options.pop("device", "auto"), threads=1, **options)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_model.build(tmp_path / "storyteller")


@pytest.fixture
def no_torch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take torch away, once it has built the tiny model."""
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)


class TestChoice:
    def test_known_layouts_are_stepped_by_onnx_and_others_by_torch(self, tmp_path: Path) -> None:
        for build in (tiny_model.build, tiny_model.build_gpt2):
            assert isinstance(loaded(build(tmp_path / build.__name__), device="cpu").steps, OnnxBackend)
        path = tiny_model.build_gpt2(tmp_path / "other")
        text = (path / "config.json").read_text(encoding="utf-8")
        changed = text.replace('layer_idx": false', 'layer_idx": true')
        assert changed != text
        (path / "config.json").write_text(changed, encoding="utf-8")
        with capture_logs() as logs:
            model = loaded(path, device="cpu")
        assert model.steps is not None
        assert not isinstance(model.steps, OnnxBackend)
        assert any("scale_attn_by_inverse_layer_idx" in str(line.get("why")) for line in logs)
        with pytest.raises(ModelRefused, match="ONNX Runtime can't run the model other"):
            loaded(path, device="cpu", backend="onnx")

    def test_torch_can_be_asked_for(self, tmp_path: Path) -> None:
        model = loaded(tiny_model.build(tmp_path / "storyteller"), device="cpu", backend="torch")
        assert not isinstance(model.steps, OnnxBackend)

    def test_beams_of_an_onnx_model_come_from_torch(self, tmp_path: Path) -> None:
        model = loaded(tiny_model.build(tmp_path / "storyteller"), device="cpu")
        assert model.backend(1) is model.steps
        assert model.backend(4) is model.whole


@pytest.mark.usefixtures("no_torch")
class TestWithoutTorch:
    def test_the_shipped_model_is_stepped(self) -> None:
        model = loaded(SHIPPED / "storyteller")
        assert isinstance(model.steps, OnnxBackend)
        assert model.whole is None
        assert prepare(StoryRequest(words=["dinner"]), model).prompt

    def test_beams_say_what_to_install(self, tiny: Path) -> None:
        model = loaded(tiny)
        decoding = Decoding(num_beams=5)
        with pytest.raises(UnsupportedSetting, match=r"wordtale\[gpu\]"):
            prepare(StoryRequest(words=["dinner"], decoding=decoding), model)
        with pytest.raises(UnsupportedSetting, match=r"wordtale\[gpu\]"):
            prepare_plain(PlainRequest(prompt="Tom", decoding=decoding), model)

    def test_other_models_say_what_to_install(self, tiny: Path, tmp_path: Path) -> None:
        path = tiny
        text = (path / "config.json").read_text(encoding="utf-8")
        (path / "config.json").write_text(text.replace('"silu"', '"gelu"'), encoding="utf-8")
        for options in ({}, {"backend": "torch"}):
            with pytest.raises(ModelRefused, match=r"wordtale\[gpu\]"):
                loaded(path, **options)
        (path / "config.json").write_text(text.replace("LlamaFor", "FalconFor"), encoding="utf-8")
        settings = EngineSettings(_env_file=None, models_dir=tmp_path / "added")
        with pytest.raises(ModelRefused, match=r"FalconForCausalLM needs PyTorch.*wordtale\[gpu\]"):
            Registry(settings).add(path, name="falcon")

    def test_a_learned_scorer_is_left_aside(self, tiny: Path) -> None:
        config = {
            "format": 1,
            "tokenizer": tokenizer_digest(tiny),
            "network": {},
            "causal": True,
            "context": 64,
            "kinds": ["story"],
            "centre": 0,
            "spread": 1,
        }
        (tiny / "reranker").mkdir()
        (tiny / "reranker" / "config.json").write_text(json.dumps(config), encoding="utf-8")
        with capture_logs() as logs:
            assert loaded(tiny).reranker is None
        assert any("PyTorch" in str(line.get("why")) for line in logs)


class TestGate:
    def test_weights_that_8_bits_would_spoil_stay_float32(self, tmp_path: Path) -> None:
        path = tmp_path / "storyteller"
        shutil.copytree(SHIPPED / "storyteller", path)
        weights = read_weights(path)
        for name, weight in weights.items():
            # A column in each block that adds nothing, beside which the others round to nothing.
            if name.endswith("down_proj.weight"):
                weight[:, 5::64] = 1e3
            elif name.endswith("up_proj.weight"):
                weight[5::64] *= 1e-7
        save_file(weights, path / "model.safetensors", {"format": "pt"})
        with capture_logs() as logs:
            model = loaded(path)
        lines = [line for line in logs if "8 bits" in line["event"]]
        tried = [(line["products"], line["cache"]) for line in lines]
        assert tried == [("integers", "8 bits"), ("blocks", "8 bits"), ("blocks", "float32")]
        assert all(line["bits_per_byte"] > 1.01 * line["bits_per_byte_float32"] for line in lines)
        assert isinstance(model.steps, OnnxBackend)

    def test_blocks_are_taken_where_integers_would_spoil_the_model(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx_nodes, "REACH", 0.5)
        with capture_logs() as logs:
            loaded(SHIPPED / "storyteller")
        lines = [line for line in logs if "8 bits" in line["event"]]
        assert [(line["products"], line["cache"]) for line in lines] == [("integers", "8 bits")]

    def test_the_shipped_model_loses_next_to_nothing(self) -> None:
        with capture_logs() as logs:
            loaded(SHIPPED / "storyteller")
        assert not [line for line in logs if line["log_level"] == "warning"]

    def test_numbers_that_are_none_are_refused(self, tmp_path: Path) -> None:
        path = tiny_model.build(tmp_path / "storyteller")
        weights = load_file(path / "model.safetensors")
        weights["model.norm.weight"][0] = np.nan
        save_file(weights, path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelRefused, match=r"model\.norm\.weight"):
            loaded(path)
