"""The storyteller's network (Llama layout of transformers) and its files. Knows nothing of training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from engine.prompts.storyteller import BOS, CONTROL_TOKENS, EOS, PAD
from training.recipe import ModelRecipe

CARD = "wordtale.json"

transformers_logging.disable_progress_bar()


def build_model(recipe: ModelRecipe, tokenizer: Tokenizer, seed: int) -> Any:
    """Return a freshly initialised model. Matrices start at 0.02, those that write to the residual lower."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_hidden_layers,
        num_attention_heads=recipe.num_attention_heads,
        num_key_value_heads=recipe.num_attention_heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(BOS),
        eos_token_id=tokenizer.token_to_id(EOS),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    model = LlamaForCausalLM(config)
    scale = (2 * recipe.num_hidden_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_(scale)
    return model


def export_model(
    model: Any, tokenizer_file: Path, out: Path, card: dict[str, Any], *, readme: str | None = None
) -> None:
    """Write a model directory: bf16 safetensors, config, tokenizer, `wordtale.json` and the model card.

    The directory appears whole: it is written beside `out` and then put in its place.
    """
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file), bos_token=BOS, eos_token=EOS, pad_token=PAD
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(CONTROL_TOKENS[3:])})
    tokenizer.save_pretrained(part)
    # named_parameters gives tied embeddings once, so they are stored once.
    state = {name: value.detach().to(torch.bfloat16) for name, value in model.named_parameters()}
    model.save_pretrained(part, state_dict=state)
    config = json.loads((part / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "bfloat16"
    (part / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    shutil.copyfile(tokenizer_file, part / "tokenizer.json")
    (part / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    if readme is not None:
        (part / "README.md").write_text(readme, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)


def load_model(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model of a directory in fp32 and its `wordtale.json`."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model, json.loads((folder / CARD).read_text(encoding="utf-8"))
