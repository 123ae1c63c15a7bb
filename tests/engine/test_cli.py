"""The engine's commands: help without the heavy libraries, errors in one line."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from engine.cli import app, bench_app, models_app


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from typer.testing import CliRunner
from engine.cli import app, bench_app, models_app
for one in (app, models_app):
    assert CliRunner().invoke(one, ["--help"]).exit_code == 0
print({"torch", "transformers", "fastapi", "uvicorn", "numpy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_serve_refuses_an_open_address_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORDTALE_ENGINE_TOKEN", raising=False)
    done = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 78
    assert "WORDTALE_ENGINE_TOKEN" in done.output


def test_a_setting_out_of_range_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDTALE_ENGINE_MAX_ROWS", "0")
    done = CliRunner().invoke(app, ["serve"])
    assert done.exit_code == 78
    assert "WORDTALE_ENGINE_MAX_ROWS" in done.output
    assert "Traceback" not in done.output


def test_a_bench_is_imported_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def content(count: int = typer.Option(200, help="Requests.")) -> None:
        print(f"bench of {count}")

    module = ModuleType("engine.bench.content")
    module.content = content  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "engine.bench.content", module)
    done = CliRunner().invoke(bench_app, ["content", "--count", "3"])
    assert (done.exit_code, done.output) == (0, "bench of 3\n")
    assert CliRunner().invoke(bench_app, ["nothing"]).exit_code == 2


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two added models that are never loaded."""
    for number, name in enumerate(("first", "second")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "wordtale.json").write_text(json.dumps({"version": f"1.{number}", "parameters": 6_200_000}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORDTALE_ENGINE_MODELS_DIR", str(tmp_path))
    monkeypatch.delenv("WORDTALE_ENGINE_DEFAULT_MODEL", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        monkeypatch.setenv("WORDTALE_ENGINE_PORT", str(probe.getsockname()[1]))
    return tmp_path


def models(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(models_app, list(arguments))
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def default() -> list[str]:
    status, output = models("list", "--json")
    assert status == 0
    return [row["name"] for row in json.loads(output) if row["default"]]


@pytest.mark.usefixtures("shelf")
def test_models_are_listed_used_and_rolled_back() -> None:
    status, output = models("use", "first")
    assert status == 0
    assert re.fullmatch(
        r"first 1\.0 is the default now\.\nNo engine is ready at http\S+: the next one to start takes it\.\n",
        output,
    )
    assert models("use", "second")[1].startswith("second 1.1 is the default now.\n")
    assert default() == ["second"]
    assert re.search(r"^\* second +1.1 +6.2 M$", models("list")[1], re.M)
    assert models("rollback")[1].startswith("first 1.0 is the default again.\n")
    assert default() == ["first"]


def test_models_that_are_not_there_or_in_use(shelf: Path) -> None:
    status, output = models("use", "frist")
    assert (status, output) == (1, "There is no model called frist. Did you mean first?\n")
    models("use", "first")
    assert models("remove", "first")[0] == 1
    assert models("remove", "second") == (0, "second is deleted.\n")
    assert not (shelf / "second").exists()


def test_what_is_no_model_is_not_added(shelf: Path) -> None:
    status, output = models("add", str(shelf / "nowhere"))
    assert (status, output) == (1, f"{shelf / 'nowhere'} is no directory with a model in it.\n")
    (shelf / "default.json.part").mkdir()
    status, output = models("use", "first")
    assert status == 1
    assert output.endswith("default.json.part: is a directory.\n")
