"""`wordtale bench engine` through the command line, with a tiny model; its figures from given waves."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from engine.bench.engines.base import About, NotInstalled, Setup, Task, Wave, Written
from engine.bench.engines.child import Child, alone
from engine.bench.engines.ctranslate import convert
from engine.bench.engines.limits import Limits, Shape
from engine.bench.engines.race import BATCHED, BY_LOAD, CT2_INT8, OURS, SEQUENTIAL, Course, Outcome
from engine.bench.engines.report import BEGIN, END, show
from engine.bench.engines.rows import figures, percentile, table, targets
from engine.bench.engines.served import Served
from engine.cli import bench_app
from engine.schema import Decoding, StoryRequest
from tests import tiny_model

KEYS = (
    "ratio_sequential_32",
    "ratio_batched_32",
    "ratio_ct2_int8_1",
    "ratio_ct2_int8_8",
    "ratio_ct2_int8_32",
    "first_text_p95_ms_32",
    "story_p50_ms_1",
    "rss_mb",
    "cold_start_s",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model.build(folder / "storyteller")
    return folder


@pytest.fixture(autouse=True)
def settings(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(models))
    monkeypatch.setenv("WORDTALE_ENGINE_THREADS", "1")


def bench(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(bench_app, ["engine", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.timeout(600)
def test_one_run_gives_every_figure(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    picture, out = tmp_path / "page.png", tmp_path / "page.json"
    keep = ("--out", str(out), "--plot", str(picture), "--markdown", str(page))
    others = "sequential,batched,ct2-int8"
    status, output = bench("--quick", "--rounds", "1", "--json", "--engines", others, *keep)
    assert status == 0, output
    report = json.loads(output)
    assert report == json.loads(out.read_text(encoding="utf-8"))
    assert {key: report[key] for key in KEYS if not math.isfinite(report[key])} == {}
    assert report["missing"] == {}
    # A development install has torch, but an engine that decodes without it must not load it.
    assert report["run"]["backend"] == "OnnxBackend"
    assert [served["torch"] for served in report["served"]] in ([False], [None])
    # Every engine wrote the tokens that ours wrote, so the times of one wave belong to the same work.
    for row in report["rows"]:
        assert row["failed"] == 0
        assert row["tokens_per_s"] > 0
        assert row["stories"] + row["not_begun"] == max(row["requests"], 4)
    assert {row["requests"] for row in report["rows"]} == {1, 8, 32}
    assert picture.stat().st_size > 10_000
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert f"| {report['ratio_ct2_int8_8']:g} | ≥ 1 |" in text
    console = Console(record=True, width=200, file=StringIO())
    show(report | {"missing": {CT2_INT8: "pip install 'wordtale[bench]'"}}, console)
    assert f"{CT2_INT8}: pip install 'wordtale[bench]'" in console.export_text()


def test_a_library_that_is_not_installed_is_said(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ctranslate2.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    setup = Setup("storyteller", models / "storyteller", "cpu", 1, Decoding(), tmp_path)
    said = r"^ctranslate2 is not installed: pip install 'wordtale\[bench\]'$"
    with alone() as pool, pytest.raises(NotInstalled, match=said):
        pool.submit(convert, setup.directory, tmp_path).result()
    child = Child("ctranslate:Int8", setup)
    try:
        with pytest.raises(NotInstalled, match=said):
            child.about()
        with pytest.raises(NotInstalled, match=said):
            child.write("write", [Task(StoryRequest(), (1,), 8)], 1.0)
    finally:
        child.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--requests", "1,x"), "numbers"),
        (("--requests", "0"), "numbers"),
        (("--engines", "vllm"), "not vllm"),
        (("--device", "tpu"), "cpu or cuda"),
        (("--out", "/nowhere/report.json"), "no folder"),
        (("--markdown", "README.md"), "bench engine: begin"),
        (("--model", "nobody"), "no model called nobody"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(arguments: tuple[str, ...], said: str) -> None:
    status, output = bench(*arguments)
    assert status != 0
    assert said in " ".join(output.split())


def wave(seconds: float, *stories: tuple[int, float, float]) -> Wave:
    return Wave(tuple(Written(*story) for story in stories), seconds, cpu_s=seconds / 2, rss_mb=100.0)


def outcome(waves: dict[tuple[str, int], list[list[Wave]]]) -> Outcome:
    about = {name: About(4.0 if name == SEQUENTIAL else 1.0, 4.0) for name, _ in waves}
    return Outcome(waves, about, tasks=[Task(StoryRequest(), prompt=(1,) * 20, tokens=80)])


def test_speed_is_the_median_of_rounds_and_times_are_of_all_stories() -> None:
    rounds = [[wave(1.0, (100, 0.1, 0.4), (100, 0.3, 1.0))] for _ in range(2)]
    rounds.append([wave(4.0, (100, 0.5, 2.0), (100, 2.0, 4.0))])
    (row,) = table(outcome({(OURS, 2): rounds}), None, None)
    assert row["tokens_per_s"] == 200.0
    assert row["rounds_tokens_per_s"] == [200.0, 200.0, 50.0]
    assert row["cpu_us_per_token"] == 2500
    assert (row["first_text_p50_ms"], row["first_text_p95_ms"]) == (300.0, 2000.0)
    assert (row["story_p50_ms"], row["story_p95_ms"]) == (1000.0, 4000.0)


def test_stories_cut_off_leave_speed_but_no_times() -> None:
    (row,) = table(outcome({(SEQUENTIAL, 32): [[wave(2.0, (80, 0.1, 1.0), (80, 1.1, 2.0))]]}), None, None)
    assert row["tokens_per_s"] == 80.0
    assert row["not_begun"] == 30
    assert row["story_p50_ms"] is None


def test_shares_of_the_limits() -> None:
    # 10 MB of 8-bit weights, 2 heads of 8 in one layer; 20 tokens of prompt, 80 new.
    shape = Shape(weights=10 * 2**20, layers=1, heads=2, kv_heads=2, head_size=8)
    limits = Limits({10: 10.0, 40: 20.0}, memory_gb_s=5.0, gflop_s=100.0)
    waves = {(SEQUENTIAL, 8): [[wave(1.0, (100, 0, 0))]], (CT2_INT8, 8): [[wave(1.0, (1000, 0, 0))]]}
    slow, fast = table(outcome(waves), shape, limits)
    cache = 2 * 1 * 2 * 8 * 60 * 4
    # One at a time reads all weights for each token; eight together read them once for eight.
    assert slow["bytes_per_token"] == 4 * 10 * 2**20 + cache
    assert fast["bytes_per_token"] == 10 * 2**20 / 8 + cache
    assert slow["bandwidth_share"] == pytest.approx(100 * slow["bytes_per_token"] / 20e9, abs=1e-4)
    flops = (2 * 10 * 2**20 + 4 * 1 * 2 * 8 * 50) * 100 / 80
    assert fast["flops_per_token"] == flops
    assert fast["compute_share"] == pytest.approx(1000 * flops / 100e9, abs=1e-4)


def test_the_issues_figures_and_which_targets_are_reached() -> None:
    def at(tokens: int, first: float = 0.1) -> list[list[Wave]]:
        return [[wave(1.0, (tokens, first, 1.0))]]

    waves = {
        (OURS, 1): at(900),
        (OURS, 32): at(3000),
        (OURS, 64): at(2000),
        (SEQUENTIAL, 32): at(100),
        (BATCHED, 32): at(1500),
        (CT2_INT8, 1): at(1000),
    }
    waves[BY_LOAD, 32] = [[Wave(tuple(Written(80, 0.4, 1.0) for _ in range(32)), 1.0, 1.0, 100.0)]]
    rows = table(outcome(waves), None, None)
    found = figures(
        rows, [Served(3.0, 150, 300, False), Served(4.0, 150, 310, False), Served(9, 1, 200, None)]
    )
    assert tuple(found) == KEYS
    assert found == {
        "ratio_sequential_32": 30.0,
        "ratio_batched_32": 2.0,
        "ratio_ct2_int8_1": 0.9,
        "ratio_ct2_int8_8": None,
        "ratio_ct2_int8_32": None,
        "first_text_p95_ms_32": 400.0,
        "story_p50_ms_1": None,
        "rss_mb": 310,
        "cold_start_s": 4.0,
    }
    judged = {row["key"]: row["reached"] for row in targets(found, rows)}
    assert judged["ratio_sequential_32"] is True
    assert judged["ratio_ct2_int8_1"] is False
    assert judged["ratio_ct2_int8_8"] is None
    assert judged["cold_start_s"] is True
    assert judged["lowest_step"] is False


def test_nearest_rank_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile(values, 1.0)) == (50, 95, 100)
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0


def test_a_cell_has_enough_stories() -> None:
    course = Course(counts=(1, 8), rounds=1, least_stories=4, sequential_seconds=1.0)
    tasks = [Task(StoryRequest(), tokens=number) for number in range(10)]
    assert [len(wave) for wave in course.waves(1, tasks)] == [1, 1, 1, 1]
    assert [len(wave) for wave in course.waves(8, tasks)] == [8]
    assert course.tasks == 8
