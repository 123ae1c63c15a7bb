"""The `wordtale` command: finds the room that has the sub-command and hands over.

Sub-commands are entry points (group wordtale.commands). Only the one asked for is imported; the list of all
is read from the sources, so that `wordtale --help` loads no room.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any

GROUP = "wordtale.commands"
USAGE_ERROR = 2
INTERRUPTED = 130
WRONG_SETTINGS = 78
SHOWN_FIRST = ("chat", "story", "generate", "run", "config")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `wordtale ARGUMENTS` (default: those of the process) and exit with its status."""
    for stream in (sys.stdin, sys.stdout):
        # A letter that the terminal's encoding lacks must not end a story.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not words or words[0] in ("-h", "--help", "help"):
        _write(overview(commands))
        sys.exit(0)
    if words[0] == "--version":
        _write(f"wordtale {version('wordtale')}")
        sys.exit(0)
    entry = commands.get(words[0])
    if entry is None:
        sys.stderr.write(_unknown(words[0], commands) + "\n")
        sys.exit(USAGE_ERROR)
    try:
        _application(entry)(args=words[1:], prog_name=f"wordtale {entry.name}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ValueError as error:
        if (wrong := _wrong_settings(error)) is None:
            raise
        sys.stderr.write(f"The settings can't be used: {wrong}. `wordtale config` shows them all.\n")
        sys.exit(WRONG_SETTINGS)


def overview(commands: dict[str, EntryPoint]) -> str:
    """Return the list of sub-commands with a line about each."""
    first = [name for name in SHOWN_FIRST if name in commands]
    names = first + sorted(commands.keys() - set(first))
    width = max(map(len, names), default=0)
    lines = [f"  {name:<{width}}  {summary(commands[name])}".rstrip() for name in names]
    head = "wordtale: your words become a story.\n\nUsage: wordtale COMMAND …\n\n"
    return head + "\n".join(lines) + "\n\nwordtale COMMAND --help says more. wordtale --version says which."


def summary(entry: EntryPoint) -> str:
    """Return the first line of help of a sub-command, read from its source without importing it."""
    spec = find_spec(entry.module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return _first_line(ast.get_docstring(node))
        if isinstance(node, ast.Assign | ast.AnnAssign) and _assigns(node, entry.attr):
            return _first_line(_help_of(node.value))
    return ""


def _assigns(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _help_of(value: ast.expr | None) -> str | None:
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _unknown(name: str, commands: dict[str, EntryPoint]) -> str:
    from rapidfuzz import process

    best = process.extractOne(name, list(commands), score_cutoff=60)
    hint = f" Did you mean `wordtale {best[0]}`?" if best else ""
    return f"There is no command `{name}`.{hint} `wordtale --help` lists them."


def _wrong_settings(error: ValueError) -> str | None:
    """Return what is wrong with the settings, None when the error is about something else."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from bot.complaints import complaints

    if isinstance(error, ValidationError) and error.title.endswith("Settings"):
        return "; ".join(complaints(error))
    return str(error) if isinstance(error, SettingsError) else None


def _application(entry: EntryPoint) -> Any:
    import typer

    loaded = entry.load()
    if isinstance(loaded, typer.Typer):
        return loaded
    application = typer.Typer(add_completion=False)
    application.command(name=entry.name)(loaded)
    return application


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
