"""The model card inside a model directory, in the format of Hugging Face. Knows nothing of weights.

Format: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.recipe import Recipe, StageRecipe
from training.scorecard.result import Scorecard
from training.scorecard.table import markdown_of

_LIMITS = """\
- Hold a thread as a person does: people and things may change from sentence to sentence.
- Know facts. Everything it says is made up.
- Any language but English, or words in other scripts.
- Keep a level exactly: the level is a tendency, measured after the story is told.
- Be safe by itself: it has learned no refusals. Wordtale's content filter checks words and stories.\
"""
_OWN = "wordtale_"


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from: `wordtale.json`, recipe, tokens of the stage and before, the sources."""

    card: Mapping[str, Any]
    recipe: Recipe
    recipe_name: str
    stage: str
    tokens: int
    tokens_before: int
    sources: Sequence[Mapping[str, Any]]
    scorecard: Scorecard | None = None


def source_rows(rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> list[Mapping[str, Any]]:
    """Return the data card's rows whose sources the recipe trains on, by their share in it.

    Rows may lack whatever the version that wrote them did not know; a missing licence reads as unknown.
    """
    shares = {**recipe.finetune.mix}
    for name, share in recipe.pretrain.mix.items():
        shares[name] = max(share, shares.get(name, 0.0))
    used = [{"licence": "unknown", **row} for row in rows if shares.get(str(row["name"]), 0) > 0]
    return sorted(used, key=lambda row: -shares[str(row["name"])])


def model_card(facts: CardFacts) -> str:
    """Return README.md: YAML header, figures, limits, sources with credit, recipe, how to make it again."""
    card = facts.card
    parts = [
        _header(facts),
        f"# {facts.recipe.family} {card['version']}",
        "A small English story model, trained from scratch by Wordtale. It writes very short stories from "
        "any part of genre, level, length, words, title and opening; retellings, sentences, short jokes.",
        _shape(facts),
        "## Held-out figures\n\nBits per byte of title and text, every condition given, on documents never "
        "trained on (lower is better).\n\n"
        + _table(("held-out documents", "bits per byte"), _held_out(card)),
    ]
    if facts.scorecard is not None:
        parts.append(
            f"## Scorecard\n\nWritten by `{facts.scorecard.command}`; people are held-out stories.\n\n"
            + markdown_of(facts.scorecard)
        )
    parts += [
        "## What it can't do\n\n" + _LIMITS,
        "## Sources\n\n" + _sources(facts),
        "## Recipe\n\n```toml\n" + _recipe(facts.recipe) + "```",
        "## Make it again\n\n```\n" + _commands(facts) + "```",
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: CardFacts) -> str:
    tags = ["story-generation", "language-learning", "text-generation", "wordtale"]
    lines = ["license: apache-2.0", "language:", "- en", "pipeline_tag: text-generation"]
    lines += ["library_name: transformers", "tags:", *(f"- {tag}" for tag in tags)]
    lines += ["model-index:", f"- name: {json.dumps(facts.recipe.family)}", "  results:"]
    figures = list(facts.card["bits_per_byte"].items())
    if not figures:
        lines[-1] = "  results: []"
    for name, value in figures:
        lines += ["  - task:", "      type: text-generation", "    dataset:"]
        lines += [
            f"      name: {json.dumps(name)}",
            f"      type: {json.dumps(name)}",
            "      split: held-out",
        ]
        lines += ["    metrics:", "    - type: bits_per_byte", f"      value: {value}"]
    return "\n".join(["---", *lines, "---"])


def _shape(facts: CardFacts) -> str:
    model = facts.recipe.model
    rows = [
        (
            "layout",
            f"`LlamaForCausalLM`: {model.num_hidden_layers} layers, hidden size {model.hidden_size}, "
            f"{model.num_attention_heads} heads, SwiGLU {model.intermediate_size}, tied embeddings",
        ),
        ("parameters", f"{facts.card['parameters']:,}, in bf16"),
        ("tokenizer", f"byte-level BPE, {facts.recipe.tokenizer.vocabulary:,} ids, trained on the same mix"),
        ("context", f"{model.context} tokens"),
        (
            "tokens seen",
            f"{facts.card['tokens_seen']:,} ({facts.tokens_before:,} before, "
            f"{facts.tokens:,} in {facts.stage})",
        ),
        ("licence of the weights", "Apache-2.0"),
    ]
    return _table(("", ""), rows)


def _held_out(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, f"{value:.4f}") for name, value in card["bits_per_byte"].items()]


def _sources(facts: CardFacts) -> str:
    if not facts.sources:
        return "Not recorded: there was no data card when these weights were written out."
    rows = []
    for source in facts.sources:
        name = str(source["name"])
        counts = [_count(source.get(key)) for key in ("documents", "held_out", "words")]
        shares = [_share(stage.mix, name) for stage in (facts.recipe.pretrain, facts.recipe.finetune)]
        rows.append((name, str(source["licence"]), *counts, *shares))
    heads = ("source", "licence", "documents", "held out", "words", "pretraining", "fine-tuning")
    lines = [_table(heads, rows), "", "The last two columns are shares of the tokens trained on.", ""]
    lines += ["### Credit and duties", ""]
    for source in facts.sources:
        name, licence = str(source["name"]), str(source["licence"])
        credit = str(
            source.get("credit") or ("the Wordtale authors" if name.startswith(_OWN) else "not recorded")
        )
        lines.append(f"- **{name}** ({licence}): {credit.rstrip('.')}. {_duty(licence)}")
    return "\n".join(lines)


def _duty(licence: str) -> str:
    """Return what a licence asks of those who pass the texts on, and how it is met."""
    plain = licence.upper().replace("-", " ")
    if "CC0" in plain or "PUBLIC DOMAIN" in plain:
        return "No duty."
    if "CC BY" in plain:
        return "Attribution: this line. The texts were cleaned, cut and labelled."
    if "MIT" in plain or "APACHE" in plain or "BSD" in plain:
        return "The copyright notice is to be kept: this line."
    if "CDLA SHARING" in plain:
        return "The data itself is shared under its licence only; results of computing on it are free."
    return "See its licence."


def _share(mix: Mapping[str, float], name: str) -> str:
    return f"{mix[name] / sum(mix.values()):.1%}" if mix.get(name) else "–"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _recipe(recipe: Recipe) -> str:
    lines = [f"family = {json.dumps(recipe.family)}", f"seed = {recipe.seed}", ""]
    lines += ["[tokenizer]", f"vocabulary = {recipe.tokenizer.vocabulary}", "", "[model]"]
    lines += [f"{name} = {value}" for name, value in recipe.model.model_dump().items()]
    for title, stage in (("pretrain", recipe.pretrain), ("finetune", recipe.finetune)):
        lines += ["", f"[{title}]", *_stage(stage), "", f"[{title}.mix]"]
        lines += [f"{name} = {share}" for name, share in stage.mix.items()]
        if stage.words is not None:
            lines += ["", f"[{title}.words]"]
            lines += [f"{name} = {share}" for name, share in stage.words.model_dump().items()]
    return "\n".join(lines) + "\n"


def _stage(stage: StageRecipe) -> list[str]:
    values = stage.model_dump(exclude={"mix", "words"}, exclude_none=True)
    if stage.schedule != "wsd":
        values.pop("decay_share")
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]


def _commands(facts: CardFacts) -> str:
    recipe = f" --recipe {facts.recipe_name}" if facts.recipe_name != "storyteller" else ""
    before = facts.tokens_before if facts.stage == "finetune" else facts.tokens + facts.tokens_before
    lines = ["wordtale train prepare --corpus DIR", f"wordtale train tokenizer{recipe}"]
    lines.append(f"wordtale train pretrain --tokens {before}{recipe}")
    if facts.stage == "finetune":
        lines += [
            f"wordtale train export base --stage pretrain{recipe}",
            f"wordtale train finetune --from base{recipe} --tokens {facts.tokens}",
        ]
    lines.append(f"wordtale train export OUT --stage {facts.stage}{recipe}")
    return "\n".join(lines) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
