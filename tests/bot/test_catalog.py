"""The table of commands: what platforms ask of it, who may call what, and the page made from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.catalog import CATALOG, Access, ArgumentKind, Catalog, Command
from bot.config import BotSettings
from bot.context import Caller, Context
from bot.cooldown import FORGET_ABOVE, Cooldowns
from bot.dispatch import Dispatcher
from bot.messages import Problem
from bot.reference import markdown
from bot.replies import Reply, Tone, flatten
from storage import Store
from tests.bot.scripted_engine import ScriptedEngine

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_of_commands_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == markdown(), "run: python -m bot.reference > docs/commands.md"


def test_names_and_arguments_fit_every_platform() -> None:
    names = [command.name for command in CATALOG.commands]
    assert len(names) == len(set(names))
    for command in CATALOG.commands:
        assert re.fullmatch(r"[a-z]{1,32}", command.name)
        assert len(command.arguments) <= 25
        required = [argument.required for argument in command.arguments]
        assert required == sorted(required, reverse=True)
        for argument in command.arguments:
            assert re.fullmatch(r"[a-z_]{1,32}", argument.name)
            assert len(argument.choices) <= 25


def test_every_typed_argument_is_taken_by_its_parser() -> None:
    samples = {ArgumentKind.WORDS: "Tom", ArgumentKind.TEXT: "A2", ArgumentKind.MODEL: "storyteller"}
    for command in CATALOG.commands:
        for argument in command.arguments:
            lowest = f"{argument.lowest + 1:g}" if argument.lowest is not None else ""
            value = lowest or samples.get(argument.kind) or (argument.choices or ("story",))[0]
            options = {argument.name: value}
            if command.name == "settings":
                options = {"name": "level", "value": "A2"}
            if command.name == "sentence":
                options["words"] = "Tom"
            assert not isinstance(command.parse("", options), Problem), (command.name, argument.name)


async def greet(context: Context, arguments: str) -> Reply:
    return Reply.of(f"hello {arguments}")


def command(name: str, access: Access = Access.EVERYONE, cooldown: float = 0.0) -> Command:
    return Command(name, greet, lambda text, options: text, access=access, cooldown=cooldown)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def dispatcher(store: Store, clock: Clock, *commands: Command) -> Dispatcher:
    return Dispatcher(
        store=store,
        storyteller=ScriptedEngine().link(),
        settings=BotSettings(_env_file=None, admins=["telegram:1"]),
        cooldowns=Cooldowns(clock),
        catalog=Catalog(commands),
    )


def caller(person: str, *, group: bool = False, admin: bool = False) -> Caller:
    return Caller("telegram", person, "telegram:5", "t", is_group=group, is_admin=admin)


@pytest.mark.parametrize(
    ("access", "who", "allowed"),
    [
        (Access.EVERYONE, caller("2"), True),
        (Access.GROUP_ADMINS, caller("2", group=True), False),
        (Access.GROUP_ADMINS, caller("2", group=True, admin=True), True),
        (Access.GROUP_ADMINS, caller("2", admin=True), False),
        (Access.GROUP_ADMINS, caller("1"), True),
        (Access.OWNERS, caller("2", group=True, admin=True), False),
        (Access.OWNERS, caller("1"), True),
    ],
)
async def test_who_may_call(store: Store, access: Access, who: Caller, allowed: bool) -> None:
    reply = await dispatcher(store, Clock(), command("greet", access)).handle(who, "/greet you")
    assert (reply.tone is Tone.ANSWER) is allowed
    if not allowed:
        assert "Only an admin" in flatten(reply.segments).text


async def test_cooldown_counts_per_person_and_command(store: Store) -> None:
    clock = Clock()
    bot = dispatcher(store, clock, command("greet", cooldown=5.0), command("other", cooldown=5.0))
    assert (await bot.handle(caller("2"), "/greet")).tone is Tone.ANSWER
    clock.now += 3.5
    refused = await bot.handle(caller("2"), "/greet")
    assert "again in 2 seconds" in flatten(refused.segments).text
    assert (await bot.handle(caller("3"), "/greet")).tone is Tone.ANSWER
    assert (await bot.handle(caller("2"), "/other")).tone is Tone.ANSWER
    clock.now += 1.5
    assert (await bot.handle(caller("2"), "/greet")).tone is Tone.ANSWER


def test_cooldowns_do_not_grow_for_ever() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    for number in range(FORGET_ABOVE + 10):
        clock.now += 1.0
        assert cooldowns.claim(f"person{number}", "story", 2.0) == 0.0
    assert len(cooldowns._free_at) < 100


@pytest.mark.parametrize("line", ["/greet@wordtale_bot you", "/GREET you", "／greet you", "  /greet   you "])
async def test_ways_to_write_a_command(store: Store, line: str) -> None:
    reply = await dispatcher(store, Clock(), command("greet")).handle(caller("2"), line)
    assert flatten(reply.segments).text == "hello you"


async def test_a_mistyped_command_gets_the_nearest(store: Store) -> None:
    bot = dispatcher(store, Clock(), command("greet"))
    assert "/greet" in flatten((await bot.handle(caller("2"), "/gret")).segments).text
    for line in ("/", "//", "/@bot", "/xyz"):
        assert (await bot.handle(caller("2"), line)).tone is Tone.PROBLEM


async def test_a_fault_of_ours_is_an_apology_and_the_next_line_works(store: Store) -> None:
    async def broken(context: Context, arguments: str) -> Reply:
        raise ZeroDivisionError("secret words of a learner")

    bot = dispatcher(store, Clock(), Command("broken", broken, lambda text, options: text), command("greet"))
    assert "something went wrong" in flatten((await bot.handle(caller("2"), "/broken")).segments).text
    assert (await bot.handle(caller("2"), "/greet")).tone is Tone.ANSWER
