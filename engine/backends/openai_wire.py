"""What is said to a completion server and what it answers: request bodies and the pieces of an answer.

Knows the OpenAI completions format and how vLLM, llama.cpp and transformers serve add to it; knows nothing
of connections, prompts or words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.jobs import RowSettings

# OpenAI's limits of a logit bias; -100 bans a token.
BIAS_LIMIT = 100.0
# A server that goes on for ever must not fill our memory.
MAX_ANSWER_CHARS = 100_000
MAX_ID = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Dialect:
    """What a kind of server understands beyond the OpenAI format.

    `ids_in`: prompts as token ids; `ids_out`: it tells the ids that it wrote; `choices`: `n` texts a call;
    `settings`: our name of a sampling setting → the server's; `parallel`: calls at a time unless set.
    """

    name: str
    ids_in: bool = True
    ids_out: bool = False
    choices: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    parallel: int = 16


OPENAI = Dialect("openai")
VLLM = Dialect(
    "vllm",
    ids_out=True,
    settings={"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repetition_penalty"},
    parallel=64,
)
LLAMACPP = Dialect(
    "llamacpp",
    ids_out=True,
    settings={
        "top_k": "top_k",
        "min_p": "min_p",
        "repetition_penalty": "repeat_penalty",
        "dry_multiplier": "dry_multiplier",
        "dry_base": "dry_base",
        "dry_allowed_length": "dry_allowed_length",
    },
    parallel=4,
)
# One text at a time, and its seed is the whole process': calls side by side would take each other's numbers.
TRANSFORMERS = Dialect("transformers", ids_in=False, choices=False, parallel=1)
DIALECTS = {dialect.name: dialect for dialect in (OPENAI, VLLM, LLAMACPP, TRANSFORMERS)}


@dataclass(frozen=True)
class Leg:
    """One call: a stretch of text under one fixed bias.

    `written` and `written_text` are what stands after the prompt so far. `ends` are ids that end the leg,
    `banned` ids that it must not write; `stop` is a text that ends it too. `push` maps sequences of ids to
    what is added, in nats, to the last id of each after those before it. `choices`: number of texts wanted.
    """

    prompt: tuple[int, ...]
    written: tuple[int, ...]
    written_text: str
    max_tokens: int
    seed: int
    settings: RowSettings
    ends: frozenset[int]
    banned: frozenset[int] = frozenset()
    push: Mapping[tuple[int, ...], float] = field(default_factory=dict)
    stop: str | None = None
    choices: int = 1


@dataclass
class Choice:
    """One text of an answer. `ids` and `logprobs` (nats) stay None where the server doesn't tell them."""

    text: str = ""
    ids: list[int] | None = None
    logprobs: list[float] | None = None
    finish: str | None = None


class Garbage(ValueError):
    """An answer that is none."""


def body_of(
    leg: Leg, dialect: Dialect, *, prompt: str | Sequence[int], model: str | None, refused: frozenset[str]
) -> dict[str, Any]:
    """Return the JSON body of a call; fields named in `refused` are left out."""
    if dialect is TRANSFORMERS:
        body = _transformers_body(leg)
    else:
        body = _common_body(leg) | _settings_of(leg, dialect)
    body["prompt"] = prompt if isinstance(prompt, str) else list(prompt)
    if model is not None:
        body["model"] = model
    if dialect is VLLM:
        body |= {"return_token_ids": True, "skip_special_tokens": False, "stop_token_ids": sorted(leg.ends)}
    if dialect.choices and leg.choices > 1:
        body["n"] = leg.choices
    return {name: value for name, value in body.items() if name not in refused}


def _common_body(leg: Leg) -> dict[str, Any]:
    bias = {ids[0]: _limited(value) for ids, value in leg.push.items() if len(ids) == 1}
    bias |= dict.fromkeys(leg.banned, -BIAS_LIMIT)
    body: dict[str, Any] = {
        "stream": True,
        "max_tokens": leg.max_tokens,
        "seed": leg.seed,
        "temperature": leg.settings.temperature,
        "top_p": leg.settings.top_p,
        "logprobs": 1,
    }
    if bias:
        body["logit_bias"] = {str(token): bias[token] for token in sorted(bias)}
    if leg.stop:
        body["stop"] = [leg.stop]
    return body


def _limited(value: float) -> float:
    return max(-BIAS_LIMIT, min(BIAS_LIMIT, value))


def _settings_of(leg: Leg, dialect: Dialect) -> dict[str, Any]:
    found = {theirs: getattr(leg.settings, ours) for ours, theirs in dialect.settings.items()}
    if dialect is VLLM and not leg.settings.top_k:
        found["top_k"] = -1  # every version of it takes this as "all"
    return found


def _transformers_body(leg: Leg) -> dict[str, Any]:
    """Give everything in a generation config: the plain fields are ignored or decode greedily."""
    settings = leg.settings
    config: dict[str, Any] = {
        "do_sample": settings.temperature > 0,
        "eos_token_id": sorted(leg.ends) or None,
        "pad_token_id": min(leg.ends, default=0),
        "repetition_penalty": settings.repetition_penalty,
        "no_repeat_ngram_size": settings.no_repeat_ngram_size,
    }
    if settings.temperature > 0:
        config |= {"temperature": settings.temperature, "top_p": settings.top_p}
        config |= {"top_k": settings.top_k, "min_p": settings.min_p or None}
    if leg.banned:
        config["suppress_tokens"] = sorted(leg.banned)
    if leg.push:
        config["sequence_bias"] = [[list(ids), _limited(value)] for ids, value in sorted(leg.push.items())]
    return {
        "stream": True,
        "max_tokens": leg.max_tokens,
        "seed": leg.seed,
        "generation_config": json.dumps(config),
    }


def add_chunk(choices: dict[int, Choice], data: Any, most: int) -> None:
    """Add one piece of an answer to its choices, at most `most`. Raises Garbage when it is none."""
    try:
        if data.get("error"):
            raise Garbage("it reports an error")
        for each in data["choices"]:
            index = int(each.get("index", 0))
            if not 0 <= index < most:
                raise Garbage("it numbers its texts wrongly")
            _grow(choices.setdefault(index, Choice()), each)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise error if isinstance(error, Garbage) else Garbage("it has another form") from error


def _grow(choice: Choice, each: Mapping[str, Any]) -> None:
    choice.text += str(each.get("text") or "")
    if len(choice.text) > MAX_ANSWER_CHARS:
        raise Garbage("it does not end")
    choice.finish = each.get("finish_reason") or choice.finish
    logprobs = each.get("logprobs") or {}
    content = logprobs.get("content") or ()
    ids = [int(token) for token in each.get("token_ids") or [item["id"] for item in content if "id" in item]]
    if not all(0 <= token <= MAX_ID for token in ids):
        raise Garbage("it has ids that are none")
    if ids:
        choice.ids = [*(choice.ids or ()), *ids]
    found = logprobs.get("token_logprobs") or [item["logprob"] for item in content]
    values = [float(value or 0.0) for value in found]
    if not all(map(math.isfinite, values)):
        raise Garbage("it has log-probabilities that are none")
    if values:
        choice.logprobs = [*(choice.logprobs or ()), *values]


def refusal_of(content: str) -> str:
    """Return what a server says of a request that it refuses.

    It may repeat what a person typed, so it is for finding out what to leave out, not for logs or people.
    """
    try:
        data = json.loads(content)
    except ValueError:
        return content
    if isinstance(data, Mapping):
        data = data.get("error") or data.get("detail") or data
    return str(data.get("message") or data) if isinstance(data, Mapping) else str(data)
