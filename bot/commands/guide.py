"""/start, /help and /about: what Wordtale is and how it is used. /help is made from the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from bot.context import Context
from bot.lexing import clean
from bot.messages import Problem, echo, problem
from bot.replies import Button, Reply, Role, Segment
from engine.client import EngineError
from engine.schema import MAX_WORDS

EXAMPLE = "sci_fi Tom, dinner"
LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class GuideArguments:
    """`about`: the command to explain, without its slash; empty = all."""

    about: str = ""


def parse_guide(text: str, options: Mapping[str, str] | None = None) -> GuideArguments | Problem:
    """Read /help and /help story. What else stands there is taken as said in passing."""
    words = clean((options or {}).get("command", text)).split()
    return GuideArguments(words[0].lstrip("/").casefold() if words else "")


async def start(context: Context, arguments: GuideArguments) -> Reply:
    """Say what this is and give a first line to try."""
    say = context.say
    example = Button(say("button-example"), "story", EXAMPLE)
    return Reply(
        (Segment(say("start-welcome")), Segment(say("start-try", example=f"/story {EXAMPLE}"))),
        buttons=((example, Button(say("button-help"), "help")),),
    )


async def help_(context: Context, arguments: GuideArguments) -> Reply:
    """List the commands, or explain one."""
    say = context.say
    if arguments.about:
        command = context.catalog.find(arguments.about)
        if command is None or not context.may(command):
            near = context.catalog.nearest(arguments.about) or "help"
            wrong = problem("unknown-command", command=echo(arguments.about), nearest=near)
            return Reply.problem(say.message(wrong))
        lines = [
            Segment(say(f"{command.name}-usage")),
            Segment(say(f"{command.name}-details", limit=MAX_WORDS)),
        ]
        return Reply(tuple(lines))
    shown = [command for command in context.catalog.commands if context.may(command)]
    lines = [Segment(say("help-title"))]
    lines += [Segment(f"/{each.name} – {say(f'{each.name}-summary')}", Role.ITEM) for each in shown]
    lines.append(Segment(say("help-hint"), Role.NOTE))
    return Reply(tuple(lines))


async def about(context: Context, arguments: GuideArguments) -> Reply:
    """Say which model tells, which version this is, its licence, and what is kept of whom."""
    say = context.say
    try:
        models = await context.storyteller.models()
        active = next((model for model in models if model.active), None)
    except EngineError:
        active = None
    if active is None:
        model = say("about-no-model")
    else:
        size = round(active.parameters / 1e6, 1)
        model = say("about-model", name=active.name, version=active.version, millions=str(size))
    lines = (say("about-what", version=version("wordtale")), model, say("about-licence", licence=LICENCE))
    return Reply(tuple(Segment(line) for line in (*lines, say("about-privacy"))))
