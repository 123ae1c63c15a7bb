"""Texts written in one call of transformers' generate: beams, and encoder-decoder models.

Slower than the step backend and without its promise about batches; word keeping and seeds work the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from engine.backends.base import WholeJob
from engine.decoding import RowMemory, sample
from engine.jobs import End, Guide, RowPlan, RowResult


class GenerateBackend:
    """Writes texts with a loaded model; see `WholeBackend`."""

    def __init__(self, model: Any, context: int) -> None:
        self._model = model.eval()
        self.vocab_size = int(model.config.vocab_size)
        self.context = context
        self._encodes = bool(model.config.is_encoder_decoder)

    def generate(self, job: WholeJob) -> list[RowResult]:
        return self._beams(job) if job.num_beams > 1 else self._samples(job)

    def _samples(self, job: WholeJob) -> list[RowResult]:
        drawing = _Drawing(job.plans, job.max_new_tokens, job.end_ids)
        self._run(job, drawing, copies=len(job.plans), do_sample=False)
        return drawing.results

    def _beams(self, job: WholeJob) -> list[RowResult]:
        guide = job.plans[0].guide
        steer = _Steering(guide, self._prefix(job)) if guide is not None else None
        settings = job.plans[0].settings
        drafts = min(len(job.plans), job.num_beams)
        out = self._run(
            job,
            steer,
            copies=1,
            do_sample=False,
            num_beams=job.num_beams,
            num_return_sequences=drafts,
            early_stopping=True,
            repetition_penalty=settings.repetition_penalty,
            no_repeat_ngram_size=settings.no_repeat_ngram_size,
            output_scores=True,
            return_dict_in_generate=True,
        )
        scores = out.sequences_scores.tolist()
        return [
            _result(index, row[self._prefix(job) :], score, job.end_ids)
            for index, (row, score) in enumerate(zip(out.sequences.tolist(), scores, strict=True))
        ]

    def _prefix(self, job: WholeJob) -> int:
        return 1 if self._encodes else len(job.prompt)

    @torch.inference_mode()
    def _run(self, job: WholeJob, processor: LogitsProcessor | None, copies: int, **options: Any) -> Any:
        ids = torch.tensor([list(job.prompt)] * copies, device=self._model.device)
        done = processor.finished if isinstance(processor, _Drawing) else lambda: False
        # Settings of the checkpoint must not mix with those of the request.
        config = type(self._model.generation_config)(
            max_new_tokens=job.max_new_tokens,
            eos_token_id=sorted(job.end_ids) or None,
            pad_token_id=self._model.config.pad_token_id or 0,
            decoder_start_token_id=getattr(self._model.config, "decoder_start_token_id", None),
            **options,
        )
        return self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([processor] if processor else []),
            stopping_criteria=StoppingCriteriaList([_Stopping(lambda: job.stop() or done())]),
        )


def _result(index: int, tokens: Sequence[int], score: float, end_ids: frozenset[int]) -> RowResult:
    at = next((place for place, token in enumerate(tokens) if token in end_ids), None)
    kept = list(tokens if at is None else tokens[: at + 1])
    end = End.LENGTH if at is None else End.TOKEN
    return RowResult(index, kept, end, logprob=score * len(kept))


class _Stopping(StoppingCriteria):  # type: ignore[misc]
    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._stop(), device=input_ids.device)


class _Drawing(LogitsProcessor):  # type: ignore[misc]
    """Draws every row's token itself and leaves greedy search no other choice."""

    def __init__(self, plans: Sequence[RowPlan], max_new_tokens: int, end_ids: frozenset[int]) -> None:
        self.results = [RowResult(index) for index in range(len(plans))]
        self._plans = plans
        self._memories = [RowMemory(plan, max_new_tokens) for plan in plans]
        self._ends = end_ids
        self._over = [False] * len(plans)

    def finished(self) -> bool:
        """Whether every row has ended."""
        return all(self._over)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        logits = scores.float().cpu().numpy().copy()
        biases = [plan.guide.bias() if plan.guide else None for plan in self._plans]
        drawn = sample(logits, self._memories, biases)
        for row in range(len(self._plans)):
            if not self._over[row]:
                self._advance(row, int(drawn.tokens[row]), float(drawn.logprobs[row]), bool(drawn.ok[row]))
        forced = torch.full_like(scores, -torch.inf)
        forced[torch.arange(len(forced)), torch.from_numpy(drawn.tokens).to(scores.device)] = 0.0
        return forced

    def _advance(self, row: int, token: int, logprob: float, ok: bool) -> None:
        result, guide = self.results[row], self._plans[row].guide
        if not ok:
            result.end, self._over[row] = End.BROKEN, True
            return
        result.tokens.append(token)
        result.logprob += logprob
        self._memories[row].push(token)
        if token in self._ends:
            result.end, self._over[row] = End.TOKEN, True
        elif guide is not None and guide.observe(token):
            result.end, self._over[row] = End.GUIDE, True


class _Steering(LogitsProcessor):  # type: ignore[misc]
    """Adds a guide's bias to each beam; a beam's guide is found again by what the beam has written."""

    def __init__(self, guide: Guide, prefix: int) -> None:
        self._prefix = prefix
        self._guides: dict[tuple[int, ...], Guide] = {(): guide}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        written = [tuple(row[self._prefix :]) for row in input_ids.tolist()]
        guides: dict[tuple[int, ...], Guide] = {}
        for row, tokens in enumerate(written):
            guide = guides.get(tokens) or self._guide_of(tokens)
            guides[tokens] = guide
            bias = guide.bias()
            if bias is not None:
                ids = torch.from_numpy(bias.ids).to(scores.device)
                # Beams add up scores, so a ban must stay finite.
                values = torch.from_numpy(np.maximum(bias.values, -1e4)).to(scores)
                scores[row, ids] += values
                if bias.dense is not None:
                    dense = torch.from_numpy(bias.dense.whole()).to(scores)
                    scores[row, : len(dense)] += dense
        self._guides = guides
        return scores

    def _guide_of(self, tokens: tuple[int, ...]) -> Guide:
        if not tokens:
            return self._guides[()]
        guide = self._guides[tokens[:-1]].fork()
        guide.observe(tokens[-1])
        return guide
