"""What the terminal shows: colours where it can, plain text in a pipe, no control codes of anybody else."""

from __future__ import annotations

import asyncio
import io

from rich.console import Console

from bot.adapters.screens import PlainScreen, RichScreen, plain_text
from bot.context import Caller
from bot.replies import (
    Button,
    File,
    Highlight,
    Poll,
    Reply,
    Role,
    Segment,
    Status,
    Tone,
    Waiting,
    Writing,
)
from tests.bot.conftest import Conversation

EVIL = "red \x1b[31mtext\x07 \x9b2Jend"


def terminal() -> tuple[RichScreen, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=60, highlight=False)
    return RichScreen(console), out


async def test_the_learners_words_stand_out(chat: Conversation) -> None:
    reply = await chat.dispatcher.handle(Caller("console", "ann", "console:1", "t"), "/story Tom, dinner")
    screen, out = terminal()
    screen.show(reply)
    shown = out.getvalue()
    assert "\x1b[1;33mTom\x1b[0m" in shown
    assert "\x1b[1;33mdinners\x1b[0m" in shown
    assert "\x1b[1mTitle 1\x1b[0m" in shown
    assert "\x1b[32m2/2 words: Tom, dinner → dinners\x1b[0m" in shown
    assert "/again  /continue" in shown


async def test_settings_are_a_table(chat: Conversation) -> None:
    reply = await chat.dispatcher.handle(Caller("console", "ann", "console:1", "t"), "/settings")
    screen, out = terminal()
    screen.show(reply)
    assert "temperature" in out.getvalue()
    assert "Low is calm" in out.getvalue()


def test_nobody_else_sends_control_codes_to_the_terminal() -> None:
    reply = Reply((Segment(EVIL, Role.STORY, (Highlight(0, 3),)), Segment("[bold]not markup[/bold] :smile:")))
    screen, out = terminal()
    screen.show(reply)
    assert "\x1b[31m" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "[bold]not markup[/bold] :smile:" in out.getvalue()
    plain = io.StringIO()
    PlainScreen(plain).show(reply)
    assert plain.getvalue() == "red [31mtext 2Jend\n\n[bold]not markup[/bold] :smile:\n\n"


async def until_shown(out: io.StringIO, text: str) -> None:
    """Return once the screen has drawn this; it draws eight times a second."""
    async with asyncio.timeout(5):
        while text not in out.getvalue():
            await asyncio.sleep(0.02)


async def test_the_spinner_shows_the_place_in_the_queue_and_the_story_so_far() -> None:
    screen, out = terminal()
    async with screen.waiting("Writing…") as report:
        await report(Waiting(3, "3 stories are before yours…"))
        await until_shown(out, "3 stories are before yours…")
        await report(Writing("Tom went", "Writing…"))
        await until_shown(out, "Tom went")
        await report(Status("The storyteller stopped."))
        await until_shown(out, "The storyteller stopped.")


async def test_a_pipe_sees_no_progress() -> None:
    out = io.StringIO()
    async with PlainScreen(out).waiting("Writing…") as report:
        await report(Writing("Tom went", "Writing…"))
    assert out.getvalue() == ""


def test_everything_a_reply_can_hold_has_a_plain_form() -> None:
    reply = Reply(
        (Segment("Here"),),
        buttons=((Button("Again", "again"),),),
        files=(File("words.csv", b"x"),),
        poll=Poll("Tom ate his …", ("dinner", "door"), correct=0),
        tone=Tone.PROBLEM,
    )
    assert plain_text(reply) == "Here\n\n[words.csv]\n\nTom ate his …\n1. dinner\n2. door"
    screen, out = terminal()
    screen.show(reply)
    assert "1. dinner" in out.getvalue()
    assert "/again" in out.getvalue()


async def test_leaving_and_blank_lines(chat: Conversation) -> None:
    assert await chat.run("", "   ", "/QUIT", "/story never") == ""
    assert await chat.run("/exit", "/story never") == ""
    assert chat.engine.requests == []
