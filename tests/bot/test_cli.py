"""The `wordtale` command from outside: pipes, files, a terminal, bad input, kill -9; its size and start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pexpect
import pytest

from tests.bot.scripted_engine import object_lines

ROOT = Path(__file__).parents[2]
WORDTALE = [sys.executable, "-m", "bot.main"]
MEGABYTE = 1024  # ru_maxrss counts kilobytes
FIELDS = [
    *("title", "text", "genre", "level", "words", "words_used", "words_missed", "spans"),
    *("model", "seed", "n", "decoding", "timing"),
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve the scripted engine for the whole module."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "tests.bot.scripted_engine:served"]
    options = ["--port", str(free), "--log-level", "warning"]
    server = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _until_ready(free)
        yield free
    finally:
        server.kill()
        server.wait()


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the scripted engine did not start")


@pytest.fixture
def env(port: int, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user with folders of their own."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "SYSTEMROOT")}
    folders = {
        f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CONFIG", "STATE", "CACHE")
    }
    return kept | folders | {"WORDTALE_ENGINE_PORT": str(port), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


def wordtale(
    env: dict[str, str], *arguments: str, stdin: str | bytes = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `wordtale ARGUMENTS` with this on its standard input."""
    given = stdin if isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run(
        [*WORDTALE, *arguments], input=given, env=env, cwd=cwd, capture_output=True, timeout=60
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_story_through_a_pipe(env: dict[str, str], tmp_path: Path) -> None:
    done = wordtale(env, "chat", stdin="/story sci_fi Tom, dinner\n", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Title 0\n\nStory 0: the Tom the dinners went home.\n\n2/2 words: Tom,")
    assert "\x1b" not in done.stdout
    # The history is there for the next run, and any bytes at all are answered.
    long = b"x" * 250_000
    done = wordtale(env, "chat", stdin=b"/history\n\xff\xfe\x00\n\x1b[31m/story\n" + long + b"\nhello there")
    assert done.returncode == 0
    assert done.stdout.count("I tell stories when") == 4
    assert "1. Title 0 · sci_fi · Tom, dinner" in done.stdout
    assert "/story hello, there" in done.stdout
    assert "\x1b" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_chat_killed_in_mid_story_is_continued_by_the_next(env: dict[str, str]) -> None:
    killed = subprocess.Popen(
        [*WORDTALE, "chat"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert killed.stdin is not None
    killed.stdin.write(b"/settings level B1\n/story Tom\n/story slowly, dinner\n")
    killed.stdin.flush()
    assert killed.stdout is not None
    while b"Story 0" not in killed.stdout.readline():
        pass
    # The line before was answered, so the next is in the database within moments.
    time.sleep(0.05)
    time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = wordtale(env, "chat", stdin="/history\n/settings level\n")
    assert done.returncode == 0
    assert "2/2 words: slowly → slowlys, dinner → dinners" in done.stdout
    assert "You asked for this before the chat was closed:" in done.stdout
    assert "2. Title 0 · B1 · Tom" in done.stdout
    assert "level: B1" in done.stdout


def test_a_chat_without_storage_says_why_and_fails(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    env["WORDTALE_STORAGE_URL"] = f"sqlite:///{tmp_path}/file/wordtale.db"
    done = wordtale(env, "chat", stdin="/help\n")
    assert done.returncode == 1
    assert "Sorry" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_chat_without_a_place_for_logs_and_locks(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = wordtale(env | {"XDG_STATE_HOME": f"{tmp_path}/file"}, "chat", stdin="/story Tom\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1/1 word: Tom" in done.stdout


def test_a_chat_in_a_terminal(env: dict[str, str]) -> None:
    chat = pexpect.spawn(
        sys.executable, ["-m", "bot.main", "chat"], env=env | {"TERM": "xterm"}, encoding="utf-8", timeout=20,
        dimensions=(50, 100),
    )  # fmt: skip
    chat.expect("/quit leaves")
    chat.expect("› ")
    chat.sendline("/story Tom, dinner")
    chat.expect_exact("\x1b[1;33mTom\x1b[0m the \x1b[1;33mdinners\x1b[0m")
    chat.expect("2/2 words")
    chat.expect("› ")
    chat.sendline("/story slowly")
    chat.expect("Writing")
    chat.sendintr()
    chat.expect("› ")
    chat.sendline("/history")
    chat.expect("1. Title 0 · Tom, dinner")
    chat.expect("› ")
    chat.sendeof()
    chat.expect(pexpect.EOF)
    chat.close()
    assert chat.exitstatus == 0


def test_json_has_the_promised_fields_in_order(env: dict[str, str]) -> None:
    done = wordtale(
        env, "story", "sci_fi", "Tom,", "dinner", "--level", "a2", "--seed", "7", "--title", "Friday evening",
        "--temperature", "0.7", "--opening", "It was late.", "--candidates", "3", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout)
    assert list(story)[: len(FIELDS)] == FIELDS
    assert (story["genre"], story["level"], story["words"]) == ("sci_fi", "A2", ["Tom", "dinner"])
    assert (story["seed"], story["n"], story["title"]) == (7, 3, "Friday evening")
    assert story["decoding"]["temperature"] == 0.7
    assert set(story["timing"]) == {"queued_ms", "first_text_ms", "total_ms", "tokens"}
    assert story["model_version"] == "1.0"
    assert story["level_report"]["hard_words"]


def test_a_story_as_text_and_what_is_wrong_as_a_sentence(env: dict[str, str]) -> None:
    done = wordtale(env, "story", "Tom,", "look", "after")
    assert done.returncode == 0
    assert "2/2 words: Tom, look after" in done.stdout
    bad = wordtale(env, "story", "scfi", "Tom")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "Did you mean sci_fi?" in bad.stderr
    refused = wordtale(env, "story", "nasty", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["code"] == "unsuitable_words"
    assert "Please choose others" in refused.stderr
    outside = wordtale(env, "story", "Tom", "--temperature", "3")
    assert outside.returncode == 2
    assert "less than or equal to 2" in outside.stderr


def test_a_file_of_requests_is_answered_in_order(env: dict[str, str], tmp_path: Path) -> None:
    lines = [
        '{"words": ["slowly"], "seed": 1}',
        "",
        '{"words": ["Tom"], "seed": 2}',
        "{broken",
        '{"wrods": ["Tom"]}',
        '{"words": ["nasty"]}',
        '{"words": ["晚餐"], "seed": 3, "genre": "horror"}',
    ]
    requests = tmp_path / "requests.jsonl"
    requests.write_text("\n".join(lines), "utf-8")
    done = wordtale(env, "story", "--from", str(requests), "--jsonl")
    assert done.returncode == 1
    answers = object_lines(done.stdout)
    assert [answer.get("seed") for answer in answers] == [1, 2, None, None, None, 3]
    errors = [(a["line"], a["error"]["code"]) for a in answers if "error" in a]
    assert errors == [(4, "invalid_request"), (5, "invalid_request"), (6, "unsuitable_words")]
    assert "wrods" in answers[3]["error"]["message"]
    assert done.stderr == ""
    good = wordtale(env, "story", "--from", "-", "--jsonl", stdin="\n".join((lines[0], lines[2])))
    assert good.returncode == 0
    assert len(object_lines(good.stdout)) == 2


def test_a_program_that_waits_for_each_answer_gets_it(env: dict[str, str]) -> None:
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [*WORDTALE, "story", "--from", "-", "--jsonl"], env=env, text=True, **pipe
    ) as running:  # type: ignore[call-overload]
        for seed in (1, 2):
            running.stdin.write(json.dumps({"words": ["Tom"], "seed": seed}) + "\n")
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["seed"] == seed
        assert running.communicate()[0] == ""
        assert running.returncode == 0


def test_a_file_that_is_not_there_and_options_beside_a_file(env: dict[str, str]) -> None:
    missing = wordtale(env, "story", "--from", "/nowhere/requests.jsonl", "--jsonl")
    assert missing.returncode == 2
    assert "can't be read" in missing.stderr
    assert wordtale(env, "story", "Tom", "--from", "x.jsonl").returncode == 2


def test_plain_generation(env: dict[str, str]) -> None:
    done = wordtale(env, "generate", "--model", "scripted", "--length", "70", "--prompt", " ")
    assert (done.returncode, done.stdout) == (0, " went on for 70\n")
    as_json = wordtale(env, "generate", "--prompt", "Hi ", "--seed", "9", "--json")
    answer: dict[str, Any] = json.loads(as_json.stdout)
    assert (answer["text"], answer["seed"]) == ("Hi went on for 70", 9)
    assert wordtale(env, "generate", "--top-p", "0").returncode == 2


def test_config_shows_every_room_and_no_secret(env: dict[str, str]) -> None:
    secrets = {
        "WORDTALE_ENGINE_TOKEN": "hush-hush",
        "WORDTALE_STORAGE_URL": "postgresql://ann:letmein@db/wordtale",
        "WORDTALE_BOT_ADMINS": "telegram:5, discord:6",
    }
    done = wordtale(env | secrets, "config")
    assert done.returncode == 0, done.stderr
    for text in (
        "WORDTALE_BOT_ADMINS=['telegram:5', 'discord:6']  # set",
        "WORDTALE_ENGINE_HOST=127.0.0.1  # default",
    ):
        assert text in done.stdout
    assert "WORDTALE_STORAGE_URL=postgresql+asyncpg://ann:" in done.stdout
    assert "hush-hush" not in done.stdout
    assert "letmein" not in done.stdout
    wrong = wordtale(env | {"WORDTALE_ENGINE_PORT": "many"}, "config")
    assert wrong.returncode == 1
    assert "port: " in wrong.stderr
    assert "WORDTALE_BOT_LANGUAGE" in wrong.stdout
    assert "many" not in wrong.stderr
    for name, value in (("WORDTALE_BOT_ADMINS", "ann"), ("WORDTALE_ENGINE_PORT", "many")):
        unusable = wordtale(env | {name: value}, "chat")
        assert unusable.returncode == 78
        assert "The settings can't be used" in unusable.stderr
        assert "Traceback" not in unusable.stderr


def test_help_lists_every_command_and_a_slip_gets_the_nearest(env: dict[str, str]) -> None:
    done = wordtale(env, "--help")
    for name in ("chat", "story", "generate", "run", "config", "engine", "models", "bench", "train", "db"):
        assert f"\n  {name} " in done.stdout
    assert "Chat with the storyteller in this terminal" in done.stdout
    slip = wordtale(env, "stroy")
    assert slip.returncode == 2
    assert "Did you mean `wordtale story`?" in slip.stderr


PROBE = """
import resource, subprocess, sys
command = [sys.executable, "-m", "bot.main", "chat"]
done = subprocess.run(command, input=sys.argv[1], text=True, capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def test_a_bot_process_is_small_and_starts_fast(env: dict[str, str]) -> None:
    wordtale(env, "chat", stdin="/help\n")  # makes the database
    lines = "/story Tom, dinner\n/again\n/history\n/settings\n" * 5
    done = subprocess.run(
        [sys.executable, "-c", PROBE, lines], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    code, kilobytes, seconds = done.stdout.split()
    assert code == "0"
    assert int(kilobytes) < 120 * MEGABYTE
    # Processor time of the whole chat, twenty lines included: other people's load does not count.
    assert float(seconds) < 2.0


def test_no_model_library_is_loaded(env: dict[str, str]) -> None:
    code = (
        "import pkgutil, importlib, sys, bot\n"
        "for module in pkgutil.walk_packages(bot.__path__, 'bot.'): importlib.import_module(module.name)\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'spacy', 'lemminflect', 'numpy', 'fastapi'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
