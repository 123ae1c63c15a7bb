"""Log-probabilities of stories under one model, the same for all: whether their order makes sense to it.

Knows the storyteller's prompt format; nothing of figures or of how stories were told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from engine.prompts.codec import Codec
from engine.prompts.storyteller import BOS, EOS, STORY, TITLE, normalise
from training.reranker.corruptions import shuffle_sentences
from training.scorecard.coherence import MIN_SENTENCES
from training.scorecard.metrics import sentences_of
from training.scorecard.stories import Story

SHUFFLES = 2
ROWS = 32


@dataclass(frozen=True)
class Order:
    """What the judge makes of a story's order, against its sentences shuffled.

    `gain` is in nats a token, positive when the order it stands in is likelier; `wins` is the share of the
    shuffles that are less likely, 0 … 1.
    """

    gain: float
    wins: float


class Judge:
    """A storyteller model that reads; no condition but the title is given to it."""

    def __init__(self, folder: Path) -> None:
        """Load a model directory of the storyteller's layout. Raises OSError where there is none."""
        import torch

        from training.machine import detect
        from training.model import load_model

        model, card = load_model(folder)
        self.version = str(card.get("version", "0"))
        self._model: Any = model.eval()
        self._bf16 = detect(torch.get_num_threads(), compile_network=False).bf16
        self._codec = Codec.from_directory(folder)
        self._context = int(model.config.max_position_embeddings)

    def log_probs(self, stories: Sequence[Story]) -> list[tuple[float, int]]:
        """Return for each story the sum of its text's log-probability in nats, and the number of its tokens.

        What goes beyond the model's context is not read.
        """
        rows = [self._ids(story) for story in stories]
        order = sorted(range(len(rows)), key=lambda number: len(rows[number][0]))
        found: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
        for start in range(0, len(order), ROWS):
            part = order[start : start + ROWS]
            for number, value in zip(part, self._read([rows[n] for n in part]), strict=True):
                found[number] = value
        return found

    def orders(self, stories: Sequence[Story]) -> list[Order | None]:
        """Return what the judge makes of each story's order; None below four sentences."""
        asked: list[Story] = []
        places: list[int] = []
        for place, story in enumerate(stories):
            if len(sentences_of(story.text)) < MIN_SENTENCES:
                continue
            texts = [shuffle_sentences(story.text, Random(f"{place} {turn}")) for turn in range(SHUFFLES)]
            if all(texts):
                asked += [Story(story.title, text or "") for text in (story.text, *texts)]
                places.append(place)
        scores = [nats / max(1, tokens) for nats, tokens in self.log_probs(asked)]
        found: list[Order | None] = [None] * len(stories)
        for number, place in enumerate(places):
            own, *others = scores[number * (SHUFFLES + 1) : (number + 1) * (SHUFFLES + 1)]
            gains = [own - other for other in others]
            found[place] = Order(sum(gains) / SHUFFLES, sum(gain > 0 for gain in gains) / SHUFFLES)
        return found

    def _ids(self, story: Story) -> tuple[list[int], int]:
        codec = self._codec
        prompt = [codec.control(BOS)]
        if story.title:
            prompt += [codec.control(TITLE), *codec.plain(" " + normalise(story.title))]
        prompt.append(codec.control(STORY))
        text = [*codec.plain(" " + normalise(story.text)), codec.control(EOS)]
        return [*prompt, *text][: self._context], len(prompt)

    def _read(self, rows: Sequence[tuple[list[int], int]]) -> list[tuple[float, int]]:
        import torch

        longest = max(len(ids) for ids, _ in rows)
        batch = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, (ids, _) in enumerate(rows):
            batch[number, : len(ids)] = torch.tensor(ids)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bf16):
            logits = self._model(input_ids=batch[:, :-1], use_cache=False).logits.float()
            # Padding stands on the right, so that no story attends to it.
            chosen = logits.log_softmax(-1).gather(-1, batch[:, 1:, None]).squeeze(-1)
        return [
            (float(chosen[number, prompt - 1 : len(ids) - 1].sum()), max(0, len(ids) - prompt))
            for number, (ids, prompt) in enumerate(rows)
        ]
