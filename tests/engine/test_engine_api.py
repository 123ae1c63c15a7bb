"""The examples of docs/engine-api.md, run by curl as they stand there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from engine.config import EngineSettings
from engine.http.errors import STATUS
from engine.registry import Registry
from engine.service import StoryService
from tests import tiny_model
from tests.engine.running import running

DOCS = Path(__file__).parents[2] / "docs" / "engine-api.md"
ADDRESS = "http://127.0.0.1:8766"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_every_example_works(tmp_path: Path) -> None:
    tiny_model.build(tmp_path / "storyteller")
    tiny_model.build(tmp_path / "second", seed=5)
    settings = EngineSettings(models_dir=tmp_path, threads=1, _env_file=None)
    Registry(settings).use("second")
    service = StoryService(settings)
    examples = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    assert len(examples) >= 12
    answers = []
    async with running(service) as url:  # type: ignore[arg-type]
        for example in examples:
            assert ADDRESS in example
            command = example.replace(ADDRESS, url).replace("curl ", "curl --fail-with-body ")
            done = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
            output = (await done.communicate())[0].decode()
            assert done.returncode == 0, (example, output)
            answers.append(output)
        await service.aclose(0)
    story = json.loads(answers[0])
    assert (story["seed"], story["request_id"], story["model"]) == (7, "turn-1", "second")
    assert answers[1].count("event: done") == 1
    done = re.search(r"event: done\ndata: (.*)", answers[1])
    assert done is not None
    assert json.loads(done.group(1))["result"]["text"] == json.loads(answers[2])["text"]


def test_every_code_stands_in_the_table_with_its_status() -> None:
    rows = re.findall(r"^\| ([0-9]{3}) \| ([^|]+) \|", DOCS.read_text(encoding="utf-8"), re.M)
    told = {(int(status), code.strip()) for status, codes in rows for code in codes.split(",")}
    assert {(status, code.value) for code, status in STATUS.items() if status != 500} <= told
