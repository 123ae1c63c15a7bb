"""The torch backends: logits of plain transformers whatever shares the batch, bitwise the same alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from engine.backends.base import WholeJob
from engine.backends.packed import pack
from engine.backends.torch_causal import TorchBackend
from engine.backends.torch_generate import GenerateBackend
from engine.config import EngineSettings
from engine.errors import ModelRefused
from engine.jobs import End, RowPlan, RowSettings
from engine.loading import LoadedModel, load
from engine.registry import Registry, read_card
from tests import tiny_model

VOCABULARY = 97
CONTEXT = 128
Model = Any


def llama() -> Model:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            initializer_range=0.2,
            tie_word_embeddings=True,
        )
    ).eval()


def gpt2() -> Model:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=48,
        n_layer=2,
        n_head=3,
        n_positions=CONTEXT,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(params=[llama, gpt2], ids=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> Model:
    return request.param()


class Rows:
    """Texts of random tokens that are stepped together, row i in slot i."""

    def __init__(self, backend: TorchBackend, seed: int, lengths: list[int]) -> None:
        self.backend = backend
        numbers = np.random.default_rng(seed)
        self.texts = [list(numbers.integers(0, VOCABULARY, length)) for length in lengths]
        self.numbers = numbers

    def join(self, rows: list[int]) -> np.ndarray[Any, Any]:
        """Compute the prompts of some rows in one step."""
        texts = [self.texts[row] for row in rows]
        lengths = [len(text) for text in texts]
        return self.backend.step(
            np.concatenate(texts),
            np.repeat(rows, lengths),
            np.concatenate([np.arange(length) for length in lengths]),
            np.cumsum(lengths) - 1,
        )

    def step(self, rows: list[int]) -> np.ndarray[Any, Any]:
        """Append a random token to some rows and step them."""
        tokens = self.numbers.integers(0, VOCABULARY, len(rows))
        for row, token in zip(rows, tokens, strict=True):
            self.texts[row].append(int(token))
        positions = np.array([len(self.texts[row]) - 1 for row in rows])
        return self.backend.step(tokens, np.array(rows), positions, np.arange(len(rows)))


def plain(model: Model, text: list[int]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        out: np.ndarray[Any, Any] = model(torch.tensor([text])).logits[0, -1].numpy()
        return out


class TestStepping:
    def test_logits_are_those_of_a_plain_pass(self, model: Model) -> None:
        reference = type(model)(model.config).eval()
        reference.load_state_dict(model.state_dict())
        assert pack(model) > 0
        rows = Rows(TorchBackend(model, CONTEXT), 1, [5, 33, 1, 40])
        found = rows.join([0, 1, 2, 3])
        for number in range(6):
            for row in range(4):
                assert np.abs(found[row] - plain(reference, rows.texts[row])).max() < 1e-4, (number, row)
            found = rows.step([0, 1, 2, 3])

    def test_a_row_may_join_leave_and_move(self, model: Model) -> None:
        rows = Rows(TorchBackend(model, CONTEXT), 2, [7, 4, 20])
        rows.join([0, 1])
        rows.step([0, 1])
        rows.join([2])
        rows.step([0, 1, 2])
        rows.backend.copy(2, [0], len(rows.texts[2]))
        rows.texts[0] = list(rows.texts[2])
        found = rows.step([0, 1])
        for row in (0, 1):
            assert np.abs(found[row] - plain(model, rows.texts[row])).max() < 1e-4

    def test_a_prompt_is_computed_once_for_many_rows(self, model: Model) -> None:
        rows = Rows(TorchBackend(model, CONTEXT), 3, [11, 0, 0])
        rows.join([0])
        rows.backend.copy(0, [1, 2], 11)
        rows.texts = [list(rows.texts[0]) for _ in range(3)]
        found = rows.step([0, 1, 2])
        for row in range(3):
            assert np.abs(found[row] - plain(model, rows.texts[row])).max() < 1e-4

    @pytest.mark.parametrize("others", [1, 2, 6, 15])
    def test_a_row_is_bitwise_the_same_alone_and_among_others(self, model: Model, others: int) -> None:
        pack(model)
        seen = []
        for count in (0, others):
            backend = TorchBackend(model, CONTEXT)
            row = Rows(backend, 4, [9])
            crowd = Rows(backend, 5, [0] + [3 + 5 * i for i in range(count)])
            seen.append([row.join([0])])
            if count:
                crowd.join(list(range(1, count + 1)))
            for _ in range(20):
                tokens = row.numbers.integers(0, VOCABULARY, 1)
                row.texts[0].append(int(tokens[0]))
                more = crowd.numbers.integers(0, VOCABULARY, count)
                for number, token in enumerate(more, start=1):
                    crowd.texts[number].append(int(token))
                lengths = [len(row.texts[0]), *(len(text) for text in crowd.texts[1:])]
                everyone = np.arange(count + 1)
                out = backend.step(np.r_[tokens, more], everyone, np.array(lengths) - 1, everyone)
                seen[-1].append(out[:1])
        assert np.array_equal(np.stack(seen[0]), np.stack(seen[1]))

    def test_nan_does_not_outlive_its_row(self, model: Model) -> None:
        reference = type(model)(model.config).eval()
        reference.load_state_dict(model.state_dict())
        pack(model)
        with torch.no_grad():
            model.get_input_embeddings().weight[96] = float("nan")
        rows = Rows(TorchBackend(model, CONTEXT), 6, [40, 3])
        rows.texts = [[96, *range(1, 40)], [5, 6, 7]]
        assert np.isnan(rows.join([0])).all()
        rows.texts[0] = rows.texts[1]
        rows.join([0])
        rows.texts[0].append(9)
        found = rows.backend.step(np.array([9]), np.array([0]), np.array([3]), np.array([0]))
        assert np.abs(found[0] - plain(reference, rows.texts[0])).max() < 1e-4

    def test_chunks_of_a_running_row_are_refused(self, model: Model) -> None:
        backend = TorchBackend(model, CONTEXT)
        Rows(backend, 7, [4]).join([0])
        with pytest.raises(ValueError, match="one token"):
            backend.step(np.array([1, 2]), np.array([0, 0]), np.array([4, 5]), np.array([1]))


def card_settings(folder: Path) -> EngineSettings:
    return EngineSettings(models_dir=folder, threads=1, device="cpu")


def loaded(folder: Path, name: str) -> LoadedModel:
    return load(Registry(card_settings(folder)).card(name), device="cpu", threads=1)


class TestLoading:
    def test_causal_models_are_stepped(self, tmp_path: Path) -> None:
        tiny_model.build(tmp_path / "storyteller")
        tiny_model.build_gpt2(tmp_path / "tiny-gpt2")
        for name in ("storyteller", "tiny-gpt2"):
            model = loaded(tmp_path, name)
            assert model.steps is not None
            assert model.end_ids == {model.family.end_token(model.codec)}

    def test_a_model_that_stepping_would_get_wrong_is_written_whole(self, tmp_path: Path) -> None:
        tiny_model.build_gpt2(tmp_path / "bloom")
        torch.manual_seed(0)
        config = BloomConfig(vocab_size=tiny_model.VOCABULARY, hidden_size=32, n_layer=2, n_head=2)
        BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
        assert loaded(tmp_path, "bloom").steps is None

    def test_an_unreadable_model_is_refused_with_a_sentence(self, tmp_path: Path) -> None:
        path = tiny_model.build(tmp_path / "storyteller")
        (path / "model.safetensors").write_bytes(b"nonsense")
        with pytest.raises(ModelRefused, match="can't be loaded"):
            load(read_card(path), device="cpu", threads=1)


class TestWholeTexts:
    @pytest.fixture
    def backend(self) -> GenerateBackend:
        return GenerateBackend(llama(), CONTEXT)

    def job(self, **given: Any) -> WholeJob:
        plans = [RowPlan(RowSettings(temperature=1.0), 5, index) for index in range(3)]
        options: dict[str, Any] = {
            "prompt": [5, 6, 7],
            "plans": plans,
            "max_new_tokens": 12,
            "end_ids": frozenset({1}),
            "num_beams": 1,
            "stop": lambda: False,
        }
        return WholeJob(**(options | given))

    def test_rows_are_drawn_as_by_the_step_backend(self, backend: GenerateBackend) -> None:
        first, second = backend.generate(self.job()), backend.generate(self.job())
        assert [row.tokens for row in first] == [row.tokens for row in second]
        assert len({tuple(row.tokens) for row in first}) == 3
        lone = backend.generate(self.job(plans=self.job().plans[1:2]))
        assert lone[0].tokens == first[1].tokens

    def test_beams_give_the_drafts_of_the_best_scores(self, backend: GenerateBackend) -> None:
        found = backend.generate(self.job(num_beams=4))
        assert len(found) == 3
        assert found[0].logprob / len(found[0].tokens) >= found[-1].logprob / len(found[-1].tokens)
        assert all(row.end in (End.TOKEN, End.LENGTH) for row in found)

    def test_it_stops_when_told(self, backend: GenerateBackend) -> None:
        asked = iter([False, False, True, True, True])
        found = backend.generate(self.job(stop=lambda: next(asked)))
        assert len(found[0].tokens) == 3
