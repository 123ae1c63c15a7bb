"""Models on disk: found, added, refused, put to use and rolled back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from engine.config import EngineSettings
from engine.errors import InvalidRequest, ModelRefused, ModelUnknown
from engine.registry import Registry
from tests import tiny_model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.build(tmp_path_factory.mktemp("source") / "mine")


@pytest.fixture
def registry(tmp_path: Path, source: Path) -> Registry:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "storyteller").symlink_to(source, target_is_directory=True)
    return Registry(EngineSettings(models_dir=tmp_path / "models"), shipped)


class TestFinding:
    def test_a_card_says_what_the_model_is(self, registry: Registry) -> None:
        (card,) = registry.cards()
        assert (card.name, card.family, card.version) == ("storyteller", "storyteller", "tiny-1")
        assert (card.context, card.architecture, card.encodes) == (512, "LlamaForCausalLM", False)
        assert card.parameters > 10_000

    def test_an_unknown_name_is_told_the_nearest(self, registry: Registry) -> None:
        with pytest.raises(ModelUnknown, match="Did you mean storyteller"):
            registry.card("storyteler")
        with pytest.raises(ModelUnknown, match="There are: storyteller"):
            registry.card("gpt-9")

    @pytest.mark.parametrize("name", ["../shipped/storyteller", "..", "a/b", "/etc", "x" * 300])
    def test_a_name_is_no_path(self, registry: Registry, name: str) -> None:
        with pytest.raises(ModelUnknown):
            registry.card(name)

    def test_an_added_model_hides_a_shipped_one(self, registry: Registry, source: Path) -> None:
        registry.add(source, name="storyteller")
        (card,) = registry.cards()
        assert card.directory.parent == registry.folder


class TestAdding:
    def test_a_copy_stands_alone(self, registry: Registry, source: Path, tmp_path: Path) -> None:
        card = registry.add(source, name="second")
        assert not card.directory.is_symlink()
        assert {path.name for path in card.directory.iterdir()} >= {"model.safetensors", "tokenizer.json"}
        assert [card.name for card in registry.cards()] == ["second", "storyteller"]

    def test_a_link_follows_its_source(self, registry: Registry, source: Path) -> None:
        assert registry.add(source, name="linked", link=True).directory.is_symlink()
        registry.remove("linked")
        assert (source / "model.safetensors").is_file()

    def test_a_bare_checkpoint_gets_a_card(self, registry: Registry, tmp_path: Path) -> None:
        bare = tiny_model.build_gpt2(tmp_path / "bare")
        (bare / "wordtale.json").unlink()
        card = registry.add(bare)
        assert (card.name, card.family) == ("bare", "plain")
        assert len(card.version) == 12
        assert card.parameters > 10_000

    def test_an_older_tokenizer_is_converted(self, registry: Registry, tmp_path: Path) -> None:
        old = tiny_model.build_gpt2(tmp_path / "old")
        words = json.loads((old / "tokenizer.json").read_text())["model"]
        (old / "tokenizer.json").unlink()
        (old / "vocab.json").write_text(json.dumps(words["vocab"]))
        merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in words["merges"]]
        (old / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges))
        card = registry.add(old)
        assert (card.directory / "tokenizer.json").is_file()

    def test_pickled_weights_are_refused(self, registry: Registry, source: Path, tmp_path: Path) -> None:
        bad = tmp_path / "bad"
        bad.mkdir()
        (bad / "config.json").write_text((source / "config.json").read_text())
        torch.save({}, bad / "pytorch_model.bin")
        with pytest.raises(ModelRefused, match=r"pytorch_model\.bin, which can run code"):
            registry.add(bad)
        assert not registry.folder.exists()

    def test_pickles_beside_safetensors_stay_behind(
        self, registry: Registry, source: Path, tmp_path: Path
    ) -> None:
        both = tiny_model.build(tmp_path / "both")
        (both / "pytorch_model.bin").write_bytes(b"pickle")
        (both / "modeling_evil.py").write_text("boom")
        names = {path.name for path in registry.add(both).directory.iterdir()}
        assert not {"pytorch_model.bin", "modeling_evil.py"} & names

    def test_code_of_its_own_is_refused(self, registry: Registry, tmp_path: Path) -> None:
        bad = tiny_model.build(tmp_path / "bad")
        config = json.loads((bad / "config.json").read_text())
        (bad / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}))
        with pytest.raises(ModelRefused, match="code of its own"):
            registry.add(bad)

    def test_an_architecture_that_writes_no_text_is_refused(self, registry: Registry, tmp_path: Path) -> None:
        config = BertConfig(
            vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
        BertModel(config).save_pretrained(tmp_path / "bert")
        with pytest.raises(ModelRefused, match="BertModel writes no text"):
            registry.add(tmp_path / "bert")

    def test_what_is_no_model_is_refused(self, registry: Registry, tmp_path: Path) -> None:
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(ModelRefused):
                registry.add(path)

    def test_an_unknown_family_is_refused_and_leaves_nothing(self, registry: Registry, source: Path) -> None:
        with pytest.raises(ModelRefused, match="no model family haiku"):
            registry.add(source, name="x", family="haiku")
        assert not list(registry.folder.glob("*"))

    @pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden", "x.part"])
    def test_odd_names_are_refused(self, registry: Registry, source: Path, name: str) -> None:
        with pytest.raises((InvalidRequest, ModelRefused)):
            registry.add(source, name=name or " ")

    def test_a_name_is_not_taken_twice(self, registry: Registry, source: Path) -> None:
        registry.add(source, name="second")
        with pytest.raises(InvalidRequest, match="already"):
            registry.add(source, name="second")


class TestDefault:
    def test_use_is_kept_and_rolled_back(self, registry: Registry, source: Path, tmp_path: Path) -> None:
        registry.add(source, name="second")
        registry.add(source, name="third")
        assert registry.default() == "storyteller"
        registry.use("second")
        registry.use("third")
        again = Registry(EngineSettings(models_dir=tmp_path / "models"), tmp_path / "shipped")
        assert again.default() == "third"
        assert again.rollback().name == "second"
        assert again.rollback().name == "storyteller"
        with pytest.raises(InvalidRequest):
            again.rollback()

    def test_an_explicit_setting_wins(self, registry: Registry, source: Path, tmp_path: Path) -> None:
        registry.add(source, name="second")
        registry.use("second")
        settings = EngineSettings(models_dir=tmp_path / "models", default_model="storyteller")
        assert Registry(settings, tmp_path / "shipped").default() == "storyteller"

    def test_an_unknown_model_is_not_put_to_use(self, registry: Registry) -> None:
        with pytest.raises(ModelUnknown):
            registry.use("nothing")
        assert registry.default() == "storyteller"

    def test_a_damaged_state_file_is_as_none(self, registry: Registry) -> None:
        registry.folder.mkdir(parents=True)
        (registry.folder / "default.json").write_text("{")
        assert registry.default() == "storyteller"

    def test_the_default_is_not_removed(self, registry: Registry, source: Path) -> None:
        registry.add(source, name="second")
        registry.use("second")
        with pytest.raises(InvalidRequest, match="stays"):
            registry.remove("second")
        registry.rollback()
        registry.remove("second")
        assert [card.name for card in registry.cards()] == ["storyteller"]
