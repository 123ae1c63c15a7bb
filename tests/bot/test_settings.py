"""Settings: shown with their explanations, changed one by one or by presets, refused out of range, kept."""

from __future__ import annotations

import pytest

from bot.context import Caller
from bot.preferences import NAMES, Preferences
from bot.replies import Reply
from engine.schema import Decoding, Level
from storage import StorageSettings, Store
from tests.bot.conftest import Conversation
from tests.bot.scripted_engine import REFUSED


async def panel(chat: Conversation, line: str = "/settings") -> Reply:
    return await chat.dispatcher.handle(Caller("telegram", "ann", "telegram:1", "t"), line)


async def test_every_setting_is_shown_with_its_explanation_and_range(chat: Conversation) -> None:
    reply = await panel(chat)
    assert reply.panel is not None
    assert reply.personal
    rows = {row.name: row for row in reply.panel.rows}
    assert tuple(rows) == (*NAMES, "language")
    assert set(Decoding.model_fields) <= set(rows)
    for row in rows.values():
        assert row.explanation.endswith(".")
        assert row.allowed
    temperature = rows["temperature"]
    assert (temperature.lowest, temperature.highest, temperature.step) == (0.0, 2.0, 0.1)
    assert [button.line for button in rows["preset"].choices] == [
        "/settings preset careful",
        "/settings preset balanced",
        "/settings preset wild",
    ]
    text = await chat("/settings")
    assert "temperature: default (0–2) – Low is calm" in text
    assert "num_beams: default (1–8)" in text


async def test_one_value(chat: Conversation) -> None:
    assert "temperature is now 0.7." in await chat("/settings temperature 0,7")
    assert "temperature: 0.7" in await chat("/settings temperature")
    assert "level is now A2." in await chat("/settings level a2")
    assert "level is back to its default." in await chat("/settings level off")
    assert "top_k is now 40." in await chat("/settings top-k=40")
    assert "model is now genre-gpt2." in await chat("/settings model genre-gpt2")


async def test_a_preset_takes_the_place_of_single_values(chat: Conversation) -> None:
    await chat.run("/settings temperature 0.3", "/settings num_beams 4")
    assert "temperature 1," in await chat("/settings preset wild")
    await chat("/story Tom")
    assert chat.engine.requests[-1].decoding == Decoding(
        temperature=1.0, top_p=0.98, top_k=0, min_p=0.03, num_beams=4
    )
    await chat.run("/settings temperature 0.6", "/story Tom")
    assert chat.engine.requests[-1].decoding.temperature == 0.6
    await chat.run("/settings preset=careful temperature=0.9", "/story Tom")
    assert chat.engine.requests[-1].decoding == Decoding(
        temperature=0.9, top_p=0.9, top_k=40, min_p=0.05, num_beams=4
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("temperature 2.5", "temperature goes from 0 to 2; 2.5 is outside."),
        ("temperature -1", "from 0 to 2"),
        ("top_p 0", "above 0 and at most 1"),
        ("top_p 1.01", "from 0 to 1"),
        ("top_k 1001", "from 0 to 1000"),
        ("min_p 2", "from 0 to 1"),
        ("repetition_penalty 0.5", "from 1 to 2"),
        ("no_repeat_ngram_size 11", "from 0 to 10"),
        ("num_beams 9", "from 1 to 8"),
        ("max_new_tokens 7", "from 8 to 512"),
        ("top_k half", "needs a number"),
        ("top_k 1.5", "whole number"),
        ("temperature inf", "needs a number"),
        ("temperature 1e400", "needs a number"),
        ("seed -1", "whole number from 0"),
        ("level C2", "A1, A2, B1, B2"),
        ("language de", "en (English), ru (Русский), zh (中文)"),
        ("genre romance", "Did you mean drama?"),
        ("model nosuch", "There are: scripted, genre-gpt2."),
        ("tempreture 1", "Did you mean temperature?"),
        ("qqq 1", "There are: preset, level"),
    ],
)
async def test_out_of_range_is_refused_with_what_is_allowed(chat: Conversation, line: str, said: str) -> None:
    before = await chat("/settings")
    assert said in await chat(f"/settings {line}")
    assert await chat("/settings") == before


async def test_settings_and_language_survive_a_restart(
    chat: Conversation, store: Store, storage_settings: StorageSettings
) -> None:
    assert "Русский" in await chat("/settings language Russian")
    assert "Теперь level: B1." in await chat("/settings level B1")
    await store.close()
    async with await Store.open(storage_settings) as opened:
        again = Conversation(opened, chat.engine, chat.session._folder)
        text = await again("/settings")
        assert "level: B1" in text
        assert "Ваши настройки" in text
        assert "2/2 слова: Tom, dinner → dinners" in await again("/story Tom, dinner")
        await again("/settings language en")
        assert "Your settings" in await again("/settings")


async def test_reset_keeps_the_language_only(chat: Conversation) -> None:
    await chat.run("/settings language zh", "/settings preset wild", "/settings level A1", "/settings reset")
    await chat("/story Tom")
    assert chat.engine.requests[-1].level is None
    assert chat.engine.requests[-1].decoding == Decoding()
    assert "你的设置" in await chat("/settings")


async def test_settings_are_a_persons_own(chat: Conversation) -> None:
    await panel(chat, "/settings level A1")
    other = await chat.dispatcher.handle(Caller("telegram", "bob", "telegram:1", "t"), "/settings level")
    assert other.panel is not None
    assert other.panel.rows[0].is_default
    mine = await panel(chat, "/settings level")
    assert mine.panel is not None
    assert mine.panel.rows[0].value == "A1"


async def test_the_platforms_language_is_spoken_until_another_is_chosen(chat: Conversation) -> None:
    caller = Caller("telegram", "eva", "telegram:1", "t", locale="ru-RU")
    text = (await chat.dispatcher.handle(caller, "/help")).segments[0].text
    assert text == "Вот что я умею:"
    await chat.dispatcher.handle(caller, "/settings language en")
    assert (await chat.dispatcher.handle(caller, "/help")).segments[0].text == "This is what I can do:"


async def test_a_model_is_not_kept_unseen_when_the_engine_is_away(chat: Conversation) -> None:
    chat.engine.plan.append(REFUSED)
    assert "can't be reached" in await chat("/settings model genre-gpt2")
    chat.engine.plan.clear()
    assert "model: default" in await chat("/settings model")


def test_stored_values_that_no_longer_pass_are_left_out() -> None:
    stored = {"level": "C9", "temperature": 9, "top_k": 40, "preset": "gone", "length": None, "other": 1}
    assert Preferences.load(stored) == Preferences(decoding=Decoding(top_k=40))
    assert Preferences.load({"level": "A2"}).level is Level.A2
