"""Drawing tokens: the right distribution, every setting per row, and no row touched by its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.decoding import RowMemory, sample, uniforms
from engine.jobs import Bias, Dense, RowPlan, RowSettings, TokenMarks
from engine.schema import Decoding

VOCABULARY = 60
DRAWS = 6000


def memory(stream: int = 0, seed: int = 7, context: tuple[int, ...] = (), **given: Any) -> RowMemory:
    return RowMemory(RowPlan(RowSettings(**given), seed, stream, context=context), 8)


def logits(seed: int = 0, rows: int = 1, spread: float = 2.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    numbers = np.random.default_rng(seed).normal(0, spread, (rows, VOCABULARY))
    return numbers.astype(np.float32)


def frequencies(one: np.ndarray[Any, np.dtype[np.float32]], **given: Any) -> np.ndarray[Any, Any]:
    """Return how often each token is drawn from the same logits by rows that differ in their stream."""
    rows = [memory(stream, **given) for stream in range(DRAWS)]
    drawn = sample(np.repeat(one, DRAWS, axis=0), rows, [None] * DRAWS)
    return np.bincount(drawn.tokens, minlength=VOCABULARY) / DRAWS


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 1.0},
        {"temperature": 0.5},
        {"temperature": 1.7, "top_k": 12},
        {"temperature": 0.8, "top_p": 0.9},
        {"temperature": 1.3, "top_p": 0.5},
        {"temperature": 1.0, "min_p": 0.1},
        {"temperature": 1.2, "top_k": 20, "top_p": 0.8},
        {"temperature": 0.9, "min_p": 0.05, "top_p": 0.95},
        {"temperature": 1.5, "min_p": 0.02, "top_k": 9, "top_p": 0.9},
    ],
    ids=str,
)
def test_the_distribution_is_that_of_transformers(given: dict[str, Any]) -> None:
    one = logits()
    warpers = LogitsProcessorList([TemperatureLogitsWarper(given["temperature"])])
    if "min_p" in given:
        warpers.append(MinPLogitsWarper(given["min_p"]))
    if "top_k" in given:
        warpers.append(TopKLogitsWarper(given["top_k"]))
    if "top_p" in given:
        warpers.append(TopPLogitsWarper(given["top_p"]))
    wanted = warpers(torch.zeros((1, 1), dtype=torch.long), torch.from_numpy(one)).softmax(-1)[0].numpy()
    found = frequencies(one, **given)
    assert not found[wanted == 0].any()
    assert np.abs(found - wanted).max() < 0.025


def test_top_p_looks_beyond_the_near_tokens_when_they_do_not_suffice() -> None:
    flat = np.zeros((1, VOCABULARY), dtype=np.float32)
    flat[0, 0] = 9.0
    found = frequencies(flat, temperature=3.0, top_p=0.99)
    assert np.count_nonzero(found) > 40


def test_temperature_zero_takes_the_best() -> None:
    rows = logits(3, rows=5)
    drawn = sample(rows.copy(), [memory(temperature=0.0) for _ in range(5)], [None] * 5)
    assert drawn.tokens.tolist() == rows.argmax(axis=1).tolist()


def test_logprobs_are_those_of_the_model_alone() -> None:
    rows = logits(4, rows=3)
    bias = Bias(np.array([5]), np.array([100.0], dtype=np.float32))
    drawn = sample(
        rows.copy(), [memory(temperature=0.0, repetition_penalty=2.0, context=(5,))] * 3, [bias, None, bias]
    )
    wanted = torch.from_numpy(rows).log_softmax(-1).numpy()
    assert drawn.tokens[0] == drawn.tokens[2] == 5
    assert np.allclose(drawn.logprobs, wanted[np.arange(3), drawn.tokens], atol=1e-5)


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    one = logits(5)
    seen = (3, 8, int(one.argmax()), 20)
    wanted = RepetitionPenaltyLogitsProcessor(1.8)(torch.tensor([seen]), torch.from_numpy(one.copy()))
    row = memory(temperature=0.0, repetition_penalty=1.8, context=seen)
    changed = one.copy()
    sample(changed, [row], [None])
    assert np.allclose(changed, wanted.numpy(), atol=1e-6)


def test_what_was_drawn_counts_as_seen() -> None:
    one = np.zeros((1, VOCABULARY), dtype=np.float32)
    one[0, [4, 9]] = 2.0, 1.9
    row = memory(temperature=0.0, repetition_penalty=1.5)
    first = int(sample(one.copy(), [row], [None]).tokens[0])
    row.push(first)
    assert (first, int(sample(one.copy(), [row], [None]).tokens[0])) == (4, 9)


def test_an_n_gram_is_not_repeated() -> None:
    row = memory(temperature=0.0, no_repeat_ngram_size=3, context=(1, 2, 3, 9, 1, 2))
    one = np.zeros((1, VOCABULARY), dtype=np.float32)
    one[0, 3] = 50.0
    one[0, 7] = 10.0
    assert sample(one.copy(), [row], [None]).tokens[0] == 7
    row.push(7)
    assert sample(one.copy(), [row], [None]).tokens[0] == 3


def test_a_ban_that_would_leave_nothing_is_dropped() -> None:
    row = memory(temperature=0.0, no_repeat_ngram_size=1, context=tuple(range(VOCABULARY)))
    assert sample(logits(6), [row], [None]).ok[0]


def dry(text: list[int], **given: Any) -> dict[int, float]:
    """Return what the loop breaker takes off which tokens; 50 … are breakers, 40 … inside words."""
    marks = TokenMarks(frozenset(range(50, 60)), frozenset(range(40, 50)))
    row = RowSettings(**{"dry_multiplier": 2.0, "dry_base": 3.0, "dry_allowed_length": 2, **given})
    bias = RowMemory(RowPlan(row, 7, 0, context=text[:4], marks=marks), 40)
    for token in text[4:]:
        bias.push(token)
    found = bias.looping()
    return {} if found is None else dict(zip(found.ids.tolist(), (-found.values).tolist(), strict=True))


class TestLoopBreaker:
    @pytest.mark.parametrize(
        ("text", "costs"),
        [
            ([1, 2, 3, 9, 2, 3], {9: 2.0}),
            ([1, 2, 3, 9, 1, 2, 3], {9: 6.0}),
            ([1, 2, 3, 9, 8, 3], {}),
            ([1, 2, 3, 9, 8, 2, 3, 7, 2, 3], {9: 2.0, 7: 2.0, 8: 0.0}),
            ([4, 4, 4, 4], {4: 6.0}),
            ([1, 2, 3, 50, 1, 2, 3], {}),
            ([1, 2, 50, 9, 1, 2, 50], {}),
            ([1, 51, 3, 9, 1, 51, 3], {}),
            ([1, 2, 3, 41, 1, 2, 3], {}),
            ([1, 2], {}),
        ],
        ids=str,
    )
    def test_what_a_repeated_run_costs(self, text: list[int], costs: dict[int, float]) -> None:
        assert dry(text) == {token: cost for token, cost in costs.items() if cost}

    def test_it_is_off_without_a_multiplier(self) -> None:
        assert dry([1, 2, 3, 9, 1, 2, 3], dry_multiplier=0.0) == {}

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 4))
    def test_it_is_what_a_plain_search_finds(self, text: list[int], allowed: int) -> None:
        wanted: dict[int, float] = {}
        for place in range(len(text) - 1):
            run = 0
            while run <= place and text[place - run] == text[len(text) - 1 - run]:
                run += 1
            if run >= allowed:
                cost = min(60.0, 2.0 * 3.0 ** (run - allowed))
                wanted[text[place + 1]] = max(cost, wanted.get(text[place + 1], 0.0))
        assert dry(text, dry_allowed_length=allowed) == wanted


def test_a_loop_is_left_when_it_costs_enough() -> None:
    def written(multiplier: float) -> list[int]:
        row = memory(temperature=0.0, dry_multiplier=multiplier)
        tokens = []
        for _ in range(8):
            one = np.zeros((1, VOCABULARY), dtype=np.float32)
            one[0, (tokens[-1] + 1) % 3 if tokens and tokens[-1] < 3 else 0] = 9.0
            tokens.append(int(sample(one, [row], [None]).tokens[0]))
            row.push(tokens[-1])
        return tokens

    assert written(0.0) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert written(8.0) != written(0.0)


def test_a_bias_over_the_whole_vocabulary_is_added_to_its_row_alone() -> None:
    rows = logits(9, rows=4)
    dense = np.linspace(-1, 1, VOCABULARY - 5, dtype=np.float32)
    none = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    changed = rows.copy()
    biases = [
        Bias(*none, Dense(dense, np.array([7, 2]))),
        Bias(*none, Dense(dense, none[0])),
        None,
        Bias(np.array([3]), np.ones(1, np.float32), Dense(dense, none[0])),
    ]
    drawn = sample(changed, [memory(temperature=0.0) for _ in range(4)], biases)
    wanted = rows.copy()
    wanted[[0, 1, 3], : len(dense)] += dense
    wanted[0, [7, 2]] = rows[0, [7, 2]]
    wanted[3, 3] += 1
    assert np.allclose(changed, wanted, atol=1e-6)
    assert drawn.tokens.tolist() == wanted.argmax(axis=1).tolist()


@pytest.mark.parametrize("top_k", [1, 5, 40, 200, 3000])
def test_top_k_leaves_the_k_likeliest_of_a_large_vocabulary(top_k: int) -> None:
    one = np.random.default_rng(top_k).normal(0, 1, (1, 4100)).astype(np.float32)
    best = set(np.argsort(-one[0])[:top_k].tolist())
    rows = [memory(stream, temperature=2.0, top_k=top_k) for stream in range(1500)]
    drawn = set(sample(np.repeat(one, 1500, axis=0), rows, [None] * 1500).tokens.tolist())
    assert drawn <= best
    assert len(drawn) > min(top_k - 1, 30)


def test_an_infinite_bias_rules_a_token_out() -> None:
    one = logits(7)
    best = int(one.argmax())
    bias = Bias(np.array([best]), np.array([-np.inf], dtype=np.float32))
    rows = [memory(stream) for stream in range(200)]
    drawn = sample(np.repeat(one, 200, axis=0), rows, [bias] * 200)
    assert best not in drawn.tokens


def test_rows_of_nan_are_marked_and_leave_the_others_alone() -> None:
    rows = logits(8, rows=3)
    alone = sample(rows[[0, 2]].copy(), [memory(1), memory(2)], [None] * 2)
    rows[1, 5] = np.nan
    drawn = sample(rows, [memory(1), memory(5), memory(2)], [None] * 3)
    assert drawn.ok.tolist() == [True, False, True]
    assert drawn.tokens[[0, 2]].tolist() == alone.tokens.tolist()


SETTINGS = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.5, 1.0, 1.6]),
        "top_k": st.sampled_from([0, 1, 5, 40]),
        "top_p": st.sampled_from([1.0, 0.9, 0.4]),
        "min_p": st.sampled_from([0.0, 0.05]),
        "repetition_penalty": st.sampled_from([1.0, 1.3]),
        "no_repeat_ngram_size": st.sampled_from([0, 2]),
        "dry_multiplier": st.sampled_from([0.0, 1.5]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SETTINGS, min_size=2, max_size=9), st.integers(0, 1000))
def test_a_row_is_drawn_alike_alone_and_among_others(many: list[dict[str, Any]], seed: int) -> None:
    rows = logits(seed, rows=len(many), spread=3.0)
    context = (1, 2, 3, 2)

    def made(index: int) -> RowMemory:
        return memory(index, seed, context, **many[index])

    together = sample(rows.copy(), [made(i) for i in range(len(many))], [None] * len(many))
    for index in range(len(many)):
        alone = sample(rows[[index]].copy(), [made(index)], [None])
        assert alone.tokens[0] == together.tokens[index]
        assert alone.logprobs[0] == together.logprobs[index]


def test_random_numbers_come_from_seed_stream_and_step_alone() -> None:
    # The first numbers of Philox 4x64-10 with key (7, 3): they must never change.
    assert uniforms(7, 3, 3).tolist() == uniforms(7, 3, 50)[:3].tolist()
    assert np.allclose(uniforms(7, 3, 2), [0.4821286018761155, 0.7241355726248441], atol=1e-12)
    spread = np.concatenate([uniforms(seed, stream, 20) for seed in range(20) for stream in range(20)])
    assert abs(spread.mean() - 0.5) < 0.01
    assert len(np.unique(spread)) == len(spread)


def test_settings_are_taken_from_a_request() -> None:
    taken = RowSettings.of(Decoding(temperature=0.3, top_k=7, num_beams=1, max_new_tokens=50))
    assert taken == RowSettings(temperature=0.3, top_k=7)
