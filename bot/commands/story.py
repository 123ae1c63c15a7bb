"""The commands that tell: /story /sentence /joke /again /continue."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2s

from bot.cards import story_card
from bot.context import Context
from bot.grammar import StoryArguments
from bot.messages import Message, Problem, problem
from bot.replies import Reply
from bot.turns import Told, tell
from engine.schema import MAX_PARENT_CHARS, MAX_TITLE_CHARS, PRESETS, Decoding, Kind, StoryRequest
from storage import Story


async def story(context: Context, arguments: StoryArguments) -> Reply:
    """Tell a story; without words it is told from the person's settings alone."""
    return await _tell_new(context, arguments, Kind.STORY)


async def sentence(context: Context, arguments: StoryArguments) -> Reply:
    """Give an example sentence for a word."""
    return await _tell_new(context, arguments, Kind.SENTENCE)


async def joke(context: Context, arguments: StoryArguments) -> Reply:
    """Tell a joke."""
    return await _tell_new(context, arguments, Kind.JOKE)


async def again(context: Context, arguments: StoryArguments) -> Reply:
    """Tell another version of a story; the versions before are kept."""
    base = await _base(context, arguments)
    if isinstance(base, Problem):
        return Reply.problem(context.say.message(base))
    asked = StoryRequest.model_validate(base.request)
    changed = {
        "genre": arguments.genre or asked.genre,
        "level": arguments.level or asked.level,
        "length": arguments.length or asked.length,
        "model": arguments.model or asked.model,
        "decoding": _decoding(arguments, asked),
        "seed": arguments.seed,
        "request_id": None,
        **_who(context),
    }
    first = base.version_of or base.id
    request = asked.model_copy(update=changed)
    told = await tell(context, request, version_of=first, parent_id=base.parent_id)
    return story_card(context.say, told, [await _version_note(context, first, told)])


async def continue_(context: Context, arguments: StoryArguments) -> Reply:
    """Tell what happens next in a story, with new words where some are given."""
    base = await _base(context, arguments)
    if isinstance(base, Problem):
        return Reply.problem(context.say.message(base))
    asked = StoryRequest.model_validate(base.request)
    arguments = replace(
        arguments,
        genre=asked.genre,
        level=arguments.level or asked.level,
        model=arguments.model or asked.model,
        title=(base.title or "")[:MAX_TITLE_CHARS].strip() or None,
    )
    parent = await _so_far(context, base)
    request = context.preferences.request(arguments, Kind.CONTINUE, parent=parent, **_who(context))
    return story_card(context.say, await tell(context, request, parent_id=base.id), arguments.notes)


async def _tell_new(context: Context, arguments: StoryArguments, kind: Kind) -> Reply:
    request = context.preferences.request(arguments, kind, **_who(context))
    return story_card(context.say, await tell(context, request), arguments.notes)


def _who(context: Context) -> dict[str, str | None]:
    """Return who asks: the chat of a group as a key that does not name it."""
    caller = context.caller
    key = blake2s(caller.chat.encode(), digest_size=16).hexdigest() if caller.is_group else None
    audience = "group" if caller.is_group else "private"
    return {"audience": audience, "person": context.person.id, "group": key}


def _decoding(arguments: StoryArguments, asked: StoryRequest) -> Decoding:
    """Return what was asked then, with what is asked now over it."""
    preset = PRESETS[arguments.preset] if arguments.preset else Decoding()
    return arguments.decoding.over(preset.over(asked.decoding))


async def _base(context: Context, arguments: StoryArguments) -> Story | Problem:
    """Return the story that a command goes on from: the one named, else the person's last."""
    if arguments.story is not None:
        return await context.own_story(arguments.story) or problem("not-yours")
    return await context.last_story() or problem("nothing-yet")


async def _version_note(context: Context, first: str, told: Told) -> Message:
    versions = await context.store.stories.versions(first)
    ids = [version.id for version in versions if version.state == "done"]
    number = ids.index(told.story.id) + 1 if told.story.id in ids else len(ids) + 1
    return Message("version-note", {"number": number, "total": max(len(ids), number)})


async def _so_far(context: Context, base: Story) -> str:
    """Return the text of a story with what it continues, as much as the engine takes."""
    parts: list[str] = []
    story: Story | None = base
    size = 0
    while story is not None and story.text and size < MAX_PARENT_CHARS:
        parts.append(story.text)
        size += len(story.text) + 1
        story = await context.own_story(story.parent_id) if story.parent_id else None
    whole = " ".join(reversed(parts))
    if len(whole) <= MAX_PARENT_CHARS:
        return whole
    end = whole[-MAX_PARENT_CHARS:]
    return end.partition(" ")[2] or end
