"""transformers' own `generate` on the same weights: one story at a time, or all in one padded batch.

Both get exactly as many new tokens a story as ours wrote. Knows nothing of requests.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.bench.engines.base import About, NotInstalled, Setup, Task, Written

# What generate knows by the names that our settings have.
SHARED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size")


@dataclass
class _Clock:
    """A streamer: `times[0]` is the prompt's, `times[i]` that of the i-th new token of every row."""

    times: list[float]

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Called by generate after the last token."""


class Generate:
    """A causal model of transformers and how it draws."""

    def __init__(self, setup: Setup) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, GenerationConfig
        except ImportError as error:
            raise NotInstalled("transformers is not installed: pip install 'wordtale[gpu]'") from error
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(setup.threads)
        on_gpu = setup.device == "cuda"
        dtype = torch.bfloat16 if on_gpu else torch.float32
        model = AutoModelForCausalLM.from_pretrained(setup.directory, dtype=dtype, local_files_only=True)
        self._model: Any = model.to(setup.device).eval()
        # Without an end token, as lengths are given.
        self._model.generation_config = GenerationConfig(pad_token_id=0)
        given = setup.decoding.model_dump(include=set(SHARED), exclude_none=True)
        cold = given.get("temperature") == 0
        self._settings = {"do_sample": False} if cold else {"do_sample": True, "top_k": 0} | given
        size = 2.0 if on_gpu else 4.0
        self.about = About(weight_bytes=size, cache_bytes=size)

    def close(self) -> None:
        """Nothing outlives the process."""

    def _generate(self, tasks: Sequence[Task]) -> list[float]:
        """Write stories in one batch and return when each step's tokens were there."""
        import torch
        from transformers import GenerationConfig

        width = max(len(task.prompt) for task in tasks)
        ids = torch.zeros((len(tasks), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, task in enumerate(tasks):
            ids[row, width - len(task.prompt) :] = torch.tensor(task.prompt)
            mask[row, width - len(task.prompt) :] = 1
        longest = max(task.tokens for task in tasks)
        clock = _Clock([])
        place = self._model.device
        with torch.inference_mode():
            out = self._model.generate(
                ids.to(place),
                attention_mask=mask.to(place),
                generation_config=GenerationConfig(max_new_tokens=longest, pad_token_id=0, **self._settings),
                streamer=clock,
            )
        assert out.shape[1] - width == longest, "generate wrote another number of tokens"
        return clock.times

    def in_turn(self, tasks: Sequence[Task], seconds: float) -> list[Written]:
        """Write one story after another, beginning none after `seconds`."""
        began = time.perf_counter()
        written: list[Written] = []
        for task in tasks:
            if written and time.perf_counter() - began > seconds:
                break
            times = self._generate([task])
            written.append(Written(task.tokens, times[1] - began, times[task.tokens] - began))
        return written

    def batched(self, tasks: Sequence[Task], seconds: float) -> list[Written]:
        """Write all stories in one batch, padded on the left; it runs until the longest is written.

        Each counts as there when its own last token was.
        """
        began = time.perf_counter()
        times = self._generate(tasks)
        return [Written(task.tokens, times[1] - began, times[task.tokens] - began) for task in tasks]
