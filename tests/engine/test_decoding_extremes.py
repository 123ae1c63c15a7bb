"""Settings at the very edge of what is allowed still draw a token, and the best one where only it is left."""

from __future__ import annotations

import numpy as np
import pytest

from engine.decoding import RowMemory, sample
from engine.jobs import RowPlan, RowSettings

SMALLEST = 5e-324


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "settings",
    [
        RowSettings(temperature=SMALLEST),
        RowSettings(temperature=1.9e-252, top_p=0.46, min_p=0.92, top_k=457),
        RowSettings(temperature=1e-38, top_k=1),
        RowSettings(temperature=1.0, top_p=SMALLEST),
        RowSettings(temperature=2.0, top_p=SMALLEST, min_p=SMALLEST, top_k=1000),
        RowSettings(temperature=1.0, min_p=1.0),
    ],
)
def test_what_leaves_one_token_draws_the_best(settings: RowSettings) -> None:
    logits = np.linspace(-60, 60, 300, dtype=np.float32)[np.random.default_rng(0).permutation(300)]
    best = int(logits.argmax())
    rows = [RowMemory(RowPlan(settings, seed=seed, stream=0), 8) for seed in range(4)]
    drawn = sample(np.tile(logits, (4, 1)), rows, [None] * 4)
    assert drawn.tokens.tolist() == [best] * 4
    assert drawn.ok.all()
