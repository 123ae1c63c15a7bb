"""Stories in the chat: what is asked of the engine, what the learner reads, what is kept."""

from __future__ import annotations

import pytest

from bot.context import Caller
from bot.replies import Highlight, Reply, Role, Status, Tone, Waiting, Writing, flatten
from engine.schema import PRESETS, Decoding, Genre, Kind, Length, Level
from tests.bot.conftest import Conversation


async def reply_to(chat: Conversation, line: str, caller: Caller | None = None) -> Reply:
    """Return the platform-neutral reply to one line."""
    return await chat.dispatcher.handle(caller or person(), line)


def person(name: str = "ann", chat: str = "telegram:1", turn: str = "", *, group: bool = False) -> Caller:
    person.turns = getattr(person, "turns", 0) + 1  # type: ignore[attr-defined]
    return Caller("telegram", name, chat, turn or f"turn {person.turns}", is_group=group)  # type: ignore[attr-defined]


async def test_a_story_with_its_receipt(chat: Conversation) -> None:
    assert await chat("/story sci_fi Tom, dinner") == (
        "Title 1\n\n"
        "Story 1: the Tom the dinners went home.\n\n"
        "2/2 words: Tom, dinner → dinners\n"
        "Harder words: vessel (C1), gleam (C1), dusk (C1)\n"
        "level A2 · seed 1001, best of 4 · scripted 1.0"
    )
    asked = chat.engine.requests[0]
    assert (asked.kind, asked.genre, asked.words) == (Kind.STORY, Genre.SCI_FI, ["Tom", "dinner"])
    assert asked.audience == "private"
    assert asked.seed is None


async def test_an_honest_receipt_when_words_are_missing(chat: Conversation) -> None:
    chat.engine.plan.extend(["drop:spoon", "drop:spoon"])
    assert "1/2 words: dinner → dinners — missing: spoon" in await chat("/story dinner, spoon")
    assert "0/1 word — missing: spoon" in await chat("/story spoon")


async def test_the_reply_carries_what_platforms_draw(chat: Conversation) -> None:
    reply = await reply_to(chat, "/story Tom, dinner")
    story = next(segment for segment in reply.segments if segment.role is Role.STORY)
    assert [story.text[mark.start : mark.end] for mark in story.highlights] == ["Tom", "dinners"]
    assert story.highlights[0] == Highlight(13, 16)
    assert [button.command for row in reply.buttons for button in row] == ["again", "continue"]
    assert all(len(button.line) <= 64 and button.line.isascii() for row in reply.buttons for button in row)
    flat = flatten(reply.segments)
    words = [flat.text[mark.start : mark.end] for mark in flat.marks if mark.role is None]
    assert words == ["Tom", "dinners"]


async def test_without_words_the_settings_make_the_story(chat: Conversation) -> None:
    await chat.run("/settings level=B1 length=long genre=horror", "/settings preset careful", "/story")
    assert (await chat("/story")).startswith("Title 2\n\nStory 2: went home.\n\nHarder words:")
    asked = chat.engine.requests[0]
    assert (asked.words, asked.level, asked.length, asked.genre) == ([], Level.B1, Length.LONG, Genre.HORROR)
    assert asked.decoding == PRESETS["careful"]


async def test_what_is_said_wins_over_the_settings(chat: Conversation) -> None:
    await chat.run(
        "/settings level=B1 temperature=0.4", "/story comedy Tom level=A1 temperature=1 preset=wild"
    )
    asked = chat.engine.requests[0]
    assert (asked.level, asked.genre) == (Level.A1, Genre.COMEDY)
    assert asked.decoding == Decoding(temperature=1.0, top_p=0.98, top_k=0, min_p=0.03)


async def test_control_tokens_emoji_and_other_scripts_reach_the_engine_as_typed(chat: Conversation) -> None:
    words = ["<eos>", "<|endoftext|>", "سلام", "晚餐", "👩\u200d👩\u200d👧"]
    answer = await chat("/story " + ", ".join(words))
    assert chat.engine.requests[0].words == words
    assert "5/5 words: <eos>" in answer
    assert "\u2068سلام\u2069, 晚餐, 👩" in answer


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/story scfi Tom", "Did you mean sci_fi?"),
        ("/story " + ", ".join(f"w{n}" for n in range(60)), "up to 12"),
        ("/story " + "x" * 5000, "5,000 characters"),
        ("/story temperature=9", "from 0 to 2"),
        ("/sentence", "Which word?"),
        ("/again", "There is no story yet"),
        ("/continue", "There is no story yet"),
        ("x" * 5000, "/story Tom, dinner"),
        ("Tom dinner", "/story Tom, dinner"),
    ],
)
async def test_bad_input_is_answered_without_the_engine(chat: Conversation, line: str, said: str) -> None:
    assert said in await chat(line)
    assert chat.engine.requests == []


async def test_again_keeps_the_version_before(chat: Conversation) -> None:
    answer = await chat.run(
        "/story Tom, dinner seed=5", "/again level=A1", "/again", "/history 3", "/history 2"
    )
    assert "This is version 2 of 2. /history keeps the others." in answer
    assert "This is version 3 of 3." in answer
    assert answer.count("Story 1:") == 2
    assert answer.count("Story 2:") == 2
    first, second, third = chat.engine.requests
    assert second.words == third.words == first.words
    assert (first.seed, second.seed, third.seed) == (5, None, None)
    assert (second.level, third.level) == (Level.A1, Level.A1)


async def test_continue_goes_on_from_all_that_was_told(chat: Conversation) -> None:
    await chat.run("/story horror Tom", "/continue storm", "/continue")
    _, second, third = chat.engine.requests
    assert (second.kind, second.words, second.genre) == (Kind.CONTINUE, ["storm"], Genre.HORROR)
    assert second.parent == "Story 1: the Tom went home."
    assert third.parent == "Story 1: the Tom went home. Story 2: the storms went home."
    assert third.words == []


async def test_sentence_and_joke(chat: Conversation) -> None:
    await chat.run("/settings genre=horror length=long", "/sentence look after", "/joke doctor, apple")
    sentence, joke = chat.engine.requests
    assert (sentence.kind, sentence.words, sentence.genre, sentence.length) == (
        Kind.SENTENCE, ["look after"], None, None,
    )  # fmt: skip
    assert (joke.kind, joke.words) == (Kind.JOKE, ["doctor", "apple"])
    # Their title is only how they begin.
    assert (await chat("/history 2")).startswith("Story 1: the look afters")
    assert "2. Story 1: the look afters went home. · sentence" in await chat("/history")


async def test_history_lists_and_reads_again(chat: Conversation) -> None:
    assert "You have no stories yet" in await chat("/history")
    await chat.run(*(f"/story word{number}" for number in range(1, 13)))
    page = await chat("/history")
    assert "1. Title 12 · word12 · " in page
    assert "10. Title 3" in page
    assert "/history page 2" in page
    assert "12. Title 1 · word1" in await chat("/history page 2")
    assert "no older stories" in await chat("/history page 3")
    assert "Story 10: the word10s" in await chat("/history 3")
    assert "You have 12 stories" in await chat("/history 13")
    for line in ("/history x", "/history 0", "/history -1", "/history 501", "/history 1 2 3"):
        assert "Use a number from 1 to 500" in await chat(line)


async def test_a_button_works_for_its_owner_only(chat: Conversation) -> None:
    reply = await reply_to(chat, "/story Tom", person("ann"))
    again = reply.buttons[0][0]
    other = await chat.dispatcher.call(person("bob"), again.command, options=again.options)
    assert other.tone is Tone.PROBLEM
    assert "can't find that story among yours" in flatten(other.segments).text
    own = await reply_to(chat, again.line, person("ann"))
    assert own.tone is Tone.ANSWER
    for line in ("/history story=nothing", "/continue story='; drop'"):
        assert (await reply_to(chat, line, person("ann"))).tone is Tone.PROBLEM


async def test_a_group_never_sees_what_was_written_elsewhere(chat: Conversation) -> None:
    await reply_to(chat, "/story secret", person(chat="telegram:1"))
    group = await reply_to(chat, "/again", person(chat="telegram:-9", group=True))
    assert "There is no story yet" in flatten(group.segments).text
    private = await reply_to(chat, "/again", person(chat="telegram:2"))
    assert private.tone is Tone.ANSWER
    told = await reply_to(chat, "/story Tom", person(chat="telegram:-9", group=True))
    assert told.tone is Tone.ANSWER
    assert chat.engine.requests[-1].audience == "group"


async def test_a_group_takes_turns_under_a_key_that_does_not_name_it(chat: Conversation) -> None:
    for who, where in (("ann", "telegram:-9"), ("bob", "telegram:-9"), ("ann", "telegram:-8")):
        await chat.dispatcher.handle(person(who, where, group=True), "/story Tom")
    await chat.dispatcher.handle(person(), "/again")
    ann, bob, elsewhere, alone = chat.engine.requests
    assert ann.group == bob.group != elsewhere.group
    assert ann.person == elsewhere.person != bob.person
    assert ann.group is not None
    assert "telegram" not in ann.group
    assert (alone.person, alone.group) == (ann.person, None)


async def test_the_same_turn_again_gives_the_same_story(chat: Conversation) -> None:
    first = await reply_to(chat, "/story Tom", person(turn="update 7"))
    second = await reply_to(chat, "/story Tom", person(turn="update 7"))
    assert first.segments == second.segments
    assert len(chat.engine.requests) == 1


async def test_progress_says_the_place_in_the_queue_and_shows_the_text(chat: Conversation) -> None:
    seen: list[object] = []

    async def report(progress: object) -> None:
        seen.append(progress)

    chat.engine.queue = (2, 0)
    await chat.dispatcher.handle(person(), "/story Tom", report)
    assert seen[0] == Waiting(2, "2 stories are before yours…")
    assert seen[1] == Waiting(0, "You are next…")
    assert [item.text for item in seen if isinstance(item, Writing)][-1] == "Story 1: the Tom went home."
    assert not any(isinstance(item, Status) for item in seen)


async def test_a_genre_that_is_not_ours_is_kept_as_a_word_and_said_so(chat: Conversation) -> None:
    answer = await chat("/story romance, Tom")
    assert chat.engine.requests[0].words == ["romance", "Tom"]
    assert "As a genre, I have drama." in answer


async def test_help_and_about(chat: Conversation) -> None:
    listed = await chat("/help")
    for command in (
        "story",
        "sentence",
        "again",
        "continue",
        "joke",
        "settings",
        "history",
        "about",
        "start",
    ):
        assert f"/{command} – " in listed
    assert "Up to 12 words" in await chat("/help story")
    assert "Did you mean /story?" in await chat("/help sotry")
    about = await chat("/about")
    assert "scripted" in about
    assert "Apache-2.0" in about
    assert "encrypted" in about
    assert "/story sci_fi Tom, dinner" in await chat("/start")
