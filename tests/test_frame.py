"""The frame around the rooms: compose file, images, size of files and functions, the README's tree."""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ROOMS = ("bot", "engine", "storage", "training")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return data


def test_services_of_ours_run_without_root_and_are_built_from_a_stage_that_exists(
    compose: dict[str, Any],
) -> None:
    stages = set(
        re.findall(r"^FROM .+ AS ([\w-]+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    )
    ours = {name: service for name, service in compose["services"].items() if "build" in service}
    assert set(ours) == {"engine", "engine-gpu", "bot", "trainer"}
    for name, service in ours.items():
        assert service["build"]["target"] in stages, name
        assert service["user"] == "10001:10001", name
        assert service["read_only"] is True, name
        assert not service.get("privileged"), name
        assert "ports" not in service, name


def test_every_volume_of_a_service_is_declared(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("$") or source in compose["volumes"], (name, volume)


def test_keys_and_data_do_not_share_a_volume(compose: dict[str, Any]) -> None:
    bot = dict(volume.split(":") for volume in compose["services"]["bot"]["volumes"])
    assert bot["keys"] == "/keys"
    assert bot["data"] == "/data"
    assert not any("keys" in volume for volume in compose["services"]["engine"]["volumes"])


def test_every_command_and_settings_class_of_the_project_file_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group in ("wordtale.commands", "wordtale.settings"):
        for value in project["entry-points"][group].values():
            module, name = value.split(":")
            source = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
            assert re.search(rf"^(async )?(def|class) {name}\b|^{name}\b.*=", source, re.M), value


def test_files_and_functions_stay_small() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert statistics.median(lines.values()) <= 200
    assert [str(path) for path, count in lines.items() if count > 400] == []
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno
                if size > 60:
                    long.append(f"{path.name}:{node.name} {size}")
    assert long == []


def test_every_module_says_what_it_does() -> None:
    silent = [str(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]
    assert silent == []


def test_the_readme_names_every_folder_and_both_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder in (*ROOMS, "tests", "docs"):
        assert re.search(rf"^{folder}/", readme, re.M), folder
    assert "make chat" in readme
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("make test")
    assert "make test" in readme


def test_shipped_weights_are_small_enough() -> None:
    for path in (ROOT / "engine" / "models").rglob("*.safetensors"):
        assert path.stat().st_size <= 32 * 2**20, path
    assert list((ROOT / "engine").rglob("*.bin")) == []


def test_pins_are_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line)] == []
