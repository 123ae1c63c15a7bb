"""Training the scorer: pairs of versions of one story (Bradley-Terry), each version written or not (BCE).

Starts from the first layers of the storyteller. Held-out accuracy is per kind of worse version: how often the
written story's logit is the higher one. Knows groups and networks; nothing of how the model told its stories.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from engine.backends.torch_scorer import SHAPE, Scorer, logits_of, padded
from engine.prompts import Codec
from engine.prompts.storyteller import Storyteller
from engine.reranking import CONFIG, MAX_BYTES, WEIGHTS, tokenizer_digest
from training.data.documents import Document
from training.model import load_model
from training.reranker.corruptions import KINDS
from training.reranker.examples import CONTINUED, TOLD, Group, Material, Version
from training.reranker.requests import key_of, request_of

CONTEXT = 384
BATCH_TOKENS = 1024
POOL_GROUPS = 96
LAYERS = 4
BODY_RATE, HEAD_RATE = 5e-4, 2e-3
WARM_UP = 0.06
BCE_SHARE = 0.5
CLIP = 1.0
# Shorter runs of a spoilt story that also stand in the written one are chance.
MIN_RUN = 3
NO_ENDING = "no_ending"

Report = Callable[[str], None]
Row = tuple[list[int], int, list[bool]]


@dataclass(frozen=True)
class Batch:
    """Rows of several groups: ids [rows, longest], `groups[i]` the group of row i, written versions first.

    `own` [rows, longest] is 1 where a token stands as it was written, 0 where it does not.
    """

    ids: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    own: torch.Tensor
    groups: list[int]


def start_scorer(directory: Path, layers: int, *, causal: bool, seed: int = 1) -> Scorer:
    """Return a scorer that begins with the first layers of a model, as many as asked and MAX_BYTES allow."""
    model, _ = load_model(directory)
    shape = model.config.to_dict()
    layers = min(layers, shape["num_hidden_layers"])
    state = model.model.state_dict()
    torch.manual_seed(seed)
    while True:
        scorer = Scorer({**shape, "num_hidden_layers": layers}, causal=causal)
        if layers == 1 or 2 * sum(p.numel() for p in scorer.parameters()) < MAX_BYTES - 65_536:
            break
        layers -= 1
    wanted = scorer.body.state_dict()
    scorer.body.load_state_dict({name: state[name] for name in wanted})
    with torch.no_grad():
        scorer.head.weight.mul_(0.1)
        scorer.head.bias.zero_()
    return scorer


def encode(group: Group, codec: Codec) -> list[Row]:
    """Return each version's ids, the length of its condition, and which ids stand as they were written."""
    rows: list[Row] = []
    for version in group.versions:
        ids, start = Storyteller().story_ids(codec, group.request, version.title, version.text)
        ids, start = ids[:CONTEXT], min(start, CONTEXT - 1)
        own = _as_written(rows[0][0], ids, version.kind) if rows else [True] * len(ids)
        rows.append((ids, start, own))
    return rows


def _as_written(written: list[int], ids: list[int], kind: str) -> list[bool]:
    if kind == TOLD:
        return [False] * len(ids)
    if kind == CONTINUED:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(written, ids, strict=False)))
        return [number < same for number in range(len(ids))]
    own = [False] * len(ids)
    for block in SequenceMatcher(None, written, ids, autojunk=False).get_matching_blocks():
        if block.size >= MIN_RUN or block.a + block.size == len(written):
            own[block.b : block.b + block.size] = [True] * block.size
    own[-1] = own[-1] and kind != NO_ENDING
    return own


def batches(material: Material, codec: Codec, seed: int) -> Iterator[Batch]:
    """Yield batches for ever, of groups of like length; stories that the model was asked for come first."""
    rng = random.Random(seed)
    with_told = [d for d in material.documents if key_of(d) in material.told]
    without = [d for d in material.documents if key_of(d) not in material.told]
    while True:
        rng.shuffle(with_told)
        rest = rng.sample(without, min(len(without), max(POOL_GROUPS, len(with_told) // 2)))
        order = [*with_told, *rest]
        rng.shuffle(order)
        for at in range(0, len(order), POOL_GROUPS):
            found = (material.group(document, rng) for document in order[at : at + POOL_GROUPS])
            groups = [encode(group, codec) for group in found if group is not None]
            pool = list(_collated(sorted(groups, key=lambda rows: max(len(row[0]) for row in rows))))
            rng.shuffle(pool)
            yield from pool


def _collated(groups: Sequence[list[Row]]) -> Iterator[Batch]:
    held: list[list[Row]] = []
    for rows in groups:
        longest = max(len(row[0]) for row in rows)
        if held and (sum(map(len, held)) + len(rows)) * longest > BATCH_TOKENS:
            yield _batch(held)
            held = []
        held.append(rows)
    if held:
        yield _batch(held)


def _batch(groups: list[list[Row]]) -> Batch:
    rows = [row for group in groups for row in group]
    lengths = [len(ids) for ids, _, _ in rows]
    return Batch(
        padded([ids for ids, _, _ in rows], max(lengths)),
        torch.tensor([start for _, start, _ in rows]),
        torch.tensor(lengths),
        padded([own for _, _, own in rows], max(lengths)).float(),
        [number for number, group in enumerate(groups) for _ in group],
    )


def loss_of(logits: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    """Return the loss of a batch: Bradley-Terry within each group plus a share of balanced BCE."""
    first = [number == 0 or groups[number] != groups[number - 1] for number in range(len(groups))]
    written = torch.tensor(first)
    best = logits[written][torch.tensor(groups)]
    pairs = functional.softplus(logits - best)[~written].mean()
    single = functional.softplus(-logits[written]).mean() + functional.softplus(logits[~written]).mean()
    return pairs + BCE_SHARE * single / 2


def train(
    scorer: Scorer, material: Material, codec: Codec, *, tokens: int, seed: int, report: Report
) -> float:
    """Train in place over about so many padded tokens, at a rate falling to zero; return the seconds."""
    device = scorer.head.weight.device
    tokens_head = torch.nn.Linear(scorer.head.in_features // 2, 1).to(device)
    heads = [*scorer.head.parameters(), *tokens_head.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": list(scorer.body.parameters()), "lr": BODY_RATE, "peak": BODY_RATE},
            {"params": heads, "lr": HEAD_RATE, "peak": HEAD_RATE},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    scorer.train()
    # Faster than the fused kernel at these lengths, backward above all (measured on a CPU).
    scorer.body.set_attn_implementation("eager")
    done, began, said, mean = 0, time.monotonic(), 0.0, math.nan
    for batch in batches(material, codec, seed):
        share = done / tokens
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (share + 0.005) / WARM_UP) * (1.0 - share)
        ids, lengths = batch.ids.to(device), batch.lengths.to(device)
        hidden, pooled = scorer.read(ids, batch.starts.to(device), lengths)
        loss = loss_of(scorer.judge(hidden, pooled, lengths), batch.groups)
        # Which words are out of place is learned from every token: a far denser signal than one a story.
        loss = loss + functional.binary_cross_entropy_with_logits(
            tokens_head(hidden)[..., 0][pooled], batch.own.to(device)[pooled]
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), CLIP)
        optimizer.step()
        done += batch.ids.numel()
        mean = float(loss.detach()) if math.isnan(mean) else 0.95 * mean + 0.05 * float(loss.detach())
        passed = time.monotonic() - began
        if passed - said > 20 or done >= tokens:
            said = passed
            report(f"{done:,} of {tokens:,} tokens, loss {mean:.3f}, {done / passed:,.0f} tokens a second")
        if done >= tokens:
            break
    scorer.body.set_attn_implementation("sdpa")
    scorer.eval()
    return time.monotonic() - began


def accuracies(scorer: Scorer, material: Material, codec: Codec, *, seed: int = 5) -> dict[str, Any]:
    """Return per kind of worse version the share of pairs told apart and their number, and the logits' scale.

    `centre` and `spread` are mean and standard deviation of the logits of the model's own stories.
    """
    rng = random.Random(seed)
    right: dict[str, list[bool]] = {}
    own: list[float] = []
    for document in material.documents:
        request = request_of(document, title=False)
        spoilt = [version for kind in KINDS if (version := material.spoilt(document, kind, rng))]
        versions = [Version("written", document.title or "", document.text), *spoilt]
        versions += material.told.get(key_of(document), [])
        rows = encode(Group(request, versions), codec)
        logits = logits_of(scorer, [row[0] for row in rows], [row[1] for row in rows])
        for version, logit in zip(versions[1:], logits[1:], strict=True):
            right.setdefault(version.kind, []).append(logits[0] > logit)
            own += [logit] if version.kind == TOLD else []
    kinds = [kind for kind in (*KINDS, TOLD, CONTINUED) if kind in right]
    return {
        "accuracy": {kind: round(statistics.mean(right[kind]), 4) for kind in kinds},
        "pairs": {kind: len(right[kind]) for kind in kinds},
        "centre": statistics.mean(own) if own else 0.0,
        "spread": max(1e-3, statistics.stdev(own)) if len(own) > 1 else 1.0,
    }


def save(scorer: Scorer, out: Path, model: Path, figures: dict[str, Any]) -> None:
    """Write a scorer's folder, whole or not at all: bf16 safetensors and its configuration."""
    from safetensors.torch import save_file

    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    state = {
        name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in scorer.state_dict().items()
    }
    save_file(state, part / WEIGHTS)
    shape = scorer.body.config.to_dict()
    config = {
        "format": 1,
        "tokenizer": tokenizer_digest(model),
        "network": {name: shape[name] for name in SHAPE if name in shape},
        "causal": scorer.causal,
        "context": CONTEXT,
        "kinds": ["story"],
        **figures,
    }
    (part / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)


def held_out_and_train(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """Return the held-out documents and those to train on."""
    held = [document for document in documents if document.held_out]
    return held, [document for document in documents if not document.held_out]
