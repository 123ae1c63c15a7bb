"""docs/samples.md is what the shipped model really writes: three of the forty are told again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.bench.samples import requests, sections

ROOT = Path(__file__).parent.parent.parent
AGAIN = (1, 14, 32)


@pytest.fixture(scope="module")
def written() -> list[str]:
    text = (ROOT / "docs" / "samples.md").read_text(encoding="utf-8")
    return ["## " + part for part in re.split(r"^## ", text, flags=re.M)[1:]]


def test_forty_samples_stand_there_each_with_its_command(written: list[str]) -> None:
    assert len(written) == 40
    for number, (text, request) in enumerate(zip(written, requests(), strict=True), start=1):
        assert text.startswith(f"## {number}\n\n`wordtale story")
        assert f"--seed {request.seed}`" in text


async def test_three_of_them_come_out_the_same_to_the_byte(written: list[str]) -> None:
    again = await sections(AGAIN)
    for number, text in zip(AGAIN, again, strict=True):
        assert text.strip() == written[number - 1].strip()
