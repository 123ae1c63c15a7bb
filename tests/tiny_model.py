"""A two-layer model with random weights in the shipped layout, for tests that need a model but no sense.

`build(path)` is deterministic. The weights favour words and full stops, so that texts are made of words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from engine.prompts.storyteller import BOS, CONTROL_TOKENS, EOS, PAD, STORY

VOCABULARY = 600
CONTEXT = 512
_TEXT = (
    "Tom and Anna had dinner at home. The old dog was happy and ran to the door. She looked at the sea, "
    "and he said hello to his friend. They went to the market in the morning. It was a cold day, but the "
    "sun was warm. Yesterday the children played in the garden and ate an apple. Then everybody laughed. "
    "The teacher opened the window and told them a story about a brave ship. In the end they were all glad. "
    "There was a little house near the river where a cat lived with a bird. Nobody knew why. One night "
    "the rain came and the road was dark. I will look after you, he said. We must find the key, she thought."
)


def tokenizer(control: tuple[str, ...] = CONTROL_TOKENS) -> Tokenizer:
    """Return a small byte-level BPE with the given control tokens first."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        special_tokens=list(control),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([_TEXT, " ".join(_TEXT.split()[::-1])], trainer)
    return made


def build(path: Path, *, name: str = "storyteller", version: str = "tiny-1", seed: int = 0) -> Path:
    """Save a tiny `LlamaForCausalLM` of the storyteller family under `path` and return it."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=words.token_to_id(BOS),
        eos_token_id=words.token_to_id(EOS),
        pad_token_id=words.token_to_id(PAD),
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:] *= 15.0
        model.model.embed_tokens.weight[:, 0] = 1.0
        model.lm_head.weight[:] *= 8.0
        model.lm_head.weight[:, 0] = _favour(words) / 3.0
    return _save(path, model, words, {"name": name, "family": "storyteller", "version": version})


def build_gpt2(path: Path, *, name: str = "tiny-gpt2", version: str = "tiny-1") -> Path:
    """Save a tiny `GPT2LMHeadModel` of the plain family under `path` and return it."""
    words = tokenizer(("<|endoftext|>",))
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=words.get_vocab_size(),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=CONTEXT,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _save(path, GPT2LMHeadModel(config), words, {"name": name, "family": "plain", "version": version})


def build_t5(path: Path, *, name: str = "tiny-t5", version: str = "tiny-1") -> Path:
    """Save a tiny `T5ForConditionalGeneration` of the plain family under `path` and return it."""
    from transformers import T5Config, T5ForConditionalGeneration

    words = tokenizer(("<pad>", "</s>"))
    torch.manual_seed(2)
    config = T5Config(
        vocab_size=words.get_vocab_size(),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = T5ForConditionalGeneration(config)
    return _save(path, model, words, {"name": name, "family": "plain", "version": version})


def _favour(words: Tokenizer) -> torch.Tensor:
    """Return a plausibility of each token: words and stops high, odd bytes and control tokens low."""
    size = words.get_vocab_size()
    out = torch.zeros(size)
    for token, number in words.get_vocab().items():
        if token in CONTROL_TOKENS:
            out[number] = -2.0 if token in (EOS, STORY) else -20.0
        elif token.startswith("Ġ") and token[1:].isalpha():
            out[number] = 2.0 if token[1:].isascii() else -12.0
        elif token == ".":
            out[number] = 4.0
        else:
            out[number] = -6.0 if token.isascii() and token.isalpha() else -12.0
    return out


def _save(path: Path, model: Any, words: Tokenizer, card: dict[str, Any]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.bfloat16).save_pretrained(path)
    words.save(str(path / "tokenizer.json"))
    card["description"] = "Random weights, for tests."
    card["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    (path / "wordtale.json").write_text(json.dumps(card), encoding="utf-8")
    return path
