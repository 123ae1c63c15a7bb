"""/history: what a person was told, newest first, to be read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.cards import story_card
from bot.context import Context
from bot.lexing import clean
from bot.messages import Problem, echo, problem
from bot.receipt import UNTITLED
from bot.replies import Button, Reply, Role, Segment
from bot.turns import Told
from engine.schema import Kind, StoryResult
from storage import Story

PAGE = 10
HIGHEST = 500
"""How far back a story can be named by number."""


@dataclass(frozen=True, slots=True)
class HistoryArguments:
    """`number`: the story to read again, 1 = the newest; `page`: which ten to list; `story`: one by id."""

    number: int | None = None
    page: int = 1
    story: str | None = None


def parse_history(text: str, options: Mapping[str, str] | None = None) -> HistoryArguments | Problem:
    """Read /history, /history 3, /history page 2."""
    given = {key: clean(value) for key, value in (options or {}).items()}
    words = clean(text).casefold().replace("=", " ").replace("#", " ").split()
    if len(words) == 2 and words[0] in ("page", "story"):
        given[words[0]] = words[1]
    elif len(words) == 1:
        given["number"] = words[0]
    elif words:
        return problem("bad-history", value=echo(text), highest=HIGHEST)
    if "story" in given:
        return HistoryArguments(story=given["story"])
    numbers: dict[str, int] = {}
    for name in given.keys() & {"number", "page"}:
        digits = given[name]
        if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:9]) <= HIGHEST):
            return problem("bad-history", value=echo(digits), highest=HIGHEST)
        numbers[name] = int(digits)
    return HistoryArguments(number=numbers.get("number"), page=numbers.get("page", 1))


async def history(context: Context, arguments: HistoryArguments) -> Reply:
    """List stories, or show one again."""
    if arguments.story is not None:
        return await _read(context, await context.own_story(arguments.story), problem("not-yours"))
    if arguments.number is None:
        return await _page(context, arguments.page)
    recent = await context.store.stories.recent(context.person.id, limit=arguments.number)
    story = recent[arguments.number - 1] if len(recent) == arguments.number else None
    missing = problem("history-short", number=arguments.number, total=len(recent))
    return await _read(context, story, missing)


async def _read(context: Context, story: Story | None, missing: Problem) -> Reply:
    if story is None or story.result is None:
        return Reply.problem(context.say.message(missing))
    return story_card(context.say, Told(story, StoryResult.model_validate(story.result)))


async def _page(context: Context, page: int) -> Reply:
    say = context.say
    first = (page - 1) * PAGE
    stories = await context.store.stories.recent(context.person.id, limit=first + PAGE + 1)
    shown = stories[first : first + PAGE]
    if not shown:
        return Reply.of(say("history-empty" if page == 1 else "history-end"), personal=True)
    lines = [Segment(say("history-title"))]
    lines += [
        Segment(f"{number}. {_line(context, story)}", Role.ITEM)
        for number, story in enumerate(shown, first + 1)
    ]
    older = len(stories) > first + PAGE
    lines.append(Segment(say("history-hint-older" if older else "history-hint", page=page + 1), Role.NOTE))
    turning = []
    if page > 1:
        turning.append(Button(say("button-newer"), "history", options={"page": str(page - 1)}))
    if older:
        turning.append(Button(say("button-older"), "history", options={"page": str(page + 1)}))
    reading = tuple(
        Button(str(number), "history", options={"story": story.id})
        for number, story in enumerate(shown, first + 1)
    )
    rows = [reading[:5], reading[5:], tuple(turning)]
    return Reply(tuple(lines), buttons=tuple(filter(None, rows)), personal=True)


def _line(context: Context, story: Story) -> str:
    result = StoryResult.model_validate(story.result)
    kind = "" if result.kind is Kind.STORY else context.say(f"kind-{result.kind.value}")
    facts = [
        kind,
        result.genre.value if result.genre else "",
        result.level.value if result.level else "",
        ", ".join(result.words),
        story.created_at.date().isoformat(),
    ]
    title = echo(result.text) if result.kind in UNTITLED or not result.title else result.title
    return " · ".join([title, *filter(None, facts)])
