"""How well the learned scorer and plain features predict the sense that readers find in stories.

A reader's judgement is a JSON line: title, text, request, sense (1 word salad, 2 sentences that do not belong
together, 3 a thread with clear breaks, 4 a small slip, 5 coherent), logprob where the engine gave it, origin.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engine.lexicon import level_report
from engine.loading import LoadedModel, load
from engine.registry import read_card
from engine.reranking import CONFIG, FOLDER, MAX_WEIGHT
from engine.schema import StoryRequest
from engine.scoring import FLUENCY, repeated_share, worn_share

FEATURES = ("learned", "logprob", "repeated", "worn", "words", "sentence words", "above level")
RIDGE = 10.0
FOLDS = 10
SENSES = range(1, 6)

Doubles = npt.NDArray[np.float64]


def read_judgements(file: Path) -> list[dict[str, Any]]:
    """Return the judgements of a file. Raises ValueError naming the first line that is none."""
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            StoryRequest.model_validate(row["request"])
            fits = isinstance(row["title"], str) and isinstance(row["text"], str) and row["sense"] in SENSES
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}, line {number}: {error}") from error
        if not fits:
            raise ValueError(f"{file}, line {number}: needs title, text and a sense from 1 to 5")
        rows.append(row)
    if len(rows) < FOLDS:
        raise ValueError(f"{file} has {len(rows)} judgements; {FOLDS} are the least")
    return rows


def features(rows: Sequence[dict[str, Any]], model: LoadedModel) -> Doubles:
    """Return the features of each story, [stories, len(FEATURES)]; what is not known is the mean of the rest.

    Raises ValueError when the model has no scorer.
    """
    if model.reranker is None:
        raise ValueError(f"{model.card.name} has no reranker: name one with --reranker")
    table = []
    for row in rows:
        request, text = StoryRequest.model_validate(row["request"]), row["text"]
        words = len(text.split())
        stops = max(1, sum(text.count(mark) for mark in ".!?"))
        above = level_report(text, request.level).share_above if request.level else 0.0
        learned = model.reranker.scores(request, [(row["title"], text)])[0]
        logprob = row.get("logprob", np.nan)
        table.append([learned, logprob, repeated_share(text), worn_share(text), words, words / stops, above])
    found = np.array(table, dtype=np.float64)
    means = np.nanmean(np.where(np.isnan(found), np.nan, found), axis=0)
    return np.where(np.isnan(found), np.where(np.isnan(means), 0.0, means), found)


def spearman(first: Doubles, second: Doubles) -> float:
    """Return Spearman's rank correlation, ties given their mean rank; 0 where one of the two is constant."""
    a, b = _ranks(first), _ranks(second)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Doubles) -> Doubles:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Doubles = (ends - (counts - 1) / 2.0)[inverse]
    return ranks


def ridge(x: Doubles, y: Doubles) -> tuple[Doubles, float]:
    """Return weights and intercept of a ridge regression of `y` on standardised columns `x`."""
    centred = y - y.mean()
    weights: Doubles = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ centred)
    return weights, float(y.mean())


def cross_validated(x: Doubles, y: Doubles, groups: Sequence[str]) -> Doubles:
    """Return for each row the prediction of a ridge fitted without the rows of its fold.

    Rows of one group (drafts of one request) share a fold.
    """
    names = sorted(set(groups))
    order = np.random.default_rng(0).permutation(len(names))
    fold_of = {name: int(order[number]) % FOLDS for number, name in enumerate(names)}
    folds = np.array([fold_of[group] for group in groups])
    predicted = np.full(len(y), y.mean())
    for fold in range(FOLDS):
        test = folds == fold
        if test.any() and (~test).sum() > 2:
            mean, spread = x[~test].mean(0), x[~test].std(0) + 1e-9
            weights, base = ridge((x[~test] - mean) / spread, y[~test])
            predicted[test] = (x[test] - mean) / spread @ weights + base
    return predicted


def judge(file: Path, directory: Path, reranker: Path | None, *, write: bool) -> str:
    """Return the table of `wordtale train reranker-readers`; with `write` the scorer takes over its weight.

    Raises ValueError for a file or model that can't be used, FileNotFoundError, ModelRefused.
    """
    rows = read_judgements(file)
    model = load(read_card(directory), device="auto", threads=torch.get_num_threads(), reranker=reranker)
    x = features(rows, model)
    weight = scorer_weight(x, np.array([row["sense"] for row in rows], dtype=np.float64))
    if write:
        path = (reranker or directory / FOLDER) / CONFIG
        config = json.loads(path.read_text(encoding="utf-8")) | {"weight": weight}
        path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return f"{_table(rows, x)}\nthe scorer's weight, beside FLUENCY = {FLUENCY} a nat: {weight:.1f}"


def scorer_weight(x: Doubles, y: Doubles) -> float:
    """Return the points a standard deviation of the scorer is worth beside FLUENCY, 0 to MAX_WEIGHT.

    A ridge over the scorer and the mean log-probability alone; 0 when the scorer says nothing of `y`.
    """
    two = x[:, [FEATURES.index("learned"), FEATURES.index("logprob")]]
    weights, _ = ridge((two - two.mean(0)) / (two.std(0) + 1e-9), y)
    learned, logprob = weights / (two.std(0) + 1e-9)
    if learned <= 0:
        return 0.0
    return round(min(MAX_WEIGHT, FLUENCY * learned / logprob if logprob > 0 else MAX_WEIGHT), 2)


def _table(rows: Sequence[dict[str, Any]], x: Doubles) -> str:
    y = np.array([row["sense"] for row in rows], dtype=np.float64)
    groups = [json.dumps(row["request"], sort_keys=True) for row in rows]
    weights, _ = ridge((x - x.mean(0)) / (x.std(0) + 1e-9), y)
    lines = [f"{len(rows)} judgements of {len(set(groups))} requests, mean sense {y.mean():.2f}", ""]
    lines.append(f"{'feature':16}{'Spearman':>9}{'within request':>16}{'ridge weight':>14}")
    for number, name in enumerate(FEATURES):
        inside = spearman(_within(x[:, number], groups), _within(y, groups))
        lines.append(f"{name:16}{spearman(x[:, number], y):9.3f}{inside:16.3f}{weights[number]:14.3f}")
    both = cross_validated(x, y, groups)
    plain = cross_validated(x[:, 1:], y, groups)
    lines += [
        "",
        f"all features, cross-validated Spearman: {spearman(both, y):.3f}",
        f"without the scorer: {spearman(plain, y):.3f}",
    ]
    return "\n".join(lines)


def _within(values: Doubles, groups: Sequence[str]) -> Doubles:
    """Return the values less the mean of their group: what tells drafts of one request apart."""
    out = values.copy()
    names = np.array(groups)
    for name in set(groups):
        out[names == name] -= values[names == name].mean()
    return out
