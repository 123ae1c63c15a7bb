"""What people type behind /story, and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.grammar import StoryArguments, parse_again, parse_joke, parse_sentence, parse_story
from bot.localisation import LANGUAGES, Localiser
from bot.messages import Problem
from bot.preferences import Preferences
from engine.schema import MAX_WORDS, Decoding, Genre, Kind, Length, Level


def story(text: str) -> StoryArguments:
    parsed = parse_story(text)
    assert isinstance(parsed, StoryArguments), parsed
    return parsed


def wrong(text: str) -> Problem:
    parsed = parse_story(text)
    assert isinstance(parsed, Problem), parsed
    return parsed


@pytest.mark.parametrize(
    ("text", "genre", "words"),
    [
        ("sci_fi Tom, dinner", Genre.SCI_FI, ("Tom", "dinner")),
        ("sci-fi Tom, dinner", Genre.SCI_FI, ("Tom", "dinner")),
        ("SciFi, Tom, dinner", Genre.SCI_FI, ("Tom", "dinner")),
        ("SF Tom dinner", Genre.SCI_FI, ("Tom", "dinner")),
        ("science fiction Tom, dinner", Genre.SCI_FI, ("Tom", "dinner")),
        ("ужасы Tom, dinner", Genre.HORROR, ("Tom", "dinner")),
        ("科幻 Tom，dinner", Genre.SCI_FI, ("Tom", "dinner")),
        ("horror", Genre.HORROR, ()),
        ("crime Tom, dinner", Genre.MYSTERY, ("Tom", "dinner")),
        ("fairy tale Tom, dinner", Genre.FANTASY, ("Tom", "dinner")),
        ("", None, ()),
        (" ,, , ", None, ()),
        ("Tom, dinner", None, ("Tom", "dinner")),
        ("Tom dinner", None, ("Tom", "dinner")),
        ("look after, dinner", None, ("look after", "dinner")),
        ("look after,", None, ("look after",)),
        ("look_after Tom", None, ("look after", "Tom")),
        ("Tom\ndinner\nlook after", None, ("Tom", "dinner", "look after")),
        ("ужин، سلام، 晚餐、夜", None, ("ужин", "سلام", "晚餐", "夜")),
        ("Tom; dinner；lunch", None, ("Tom", "dinner", "lunch")),
        ("dinner, Dinner,  dinner.", None, ("dinner",)),
        ("'dinner', lunch!", None, ("dinner", "lunch")),
        ("Tom's, don’t", None, ("Tom's", "don’t")),
        ("👩\u200d👩\u200d👧, 🍕 dinner", None, ("👩\u200d👩\u200d👧", "🍕 dinner")),
        ("<eos>, <|endoftext|>, <extra_id_0>", None, ("<eos>", "<|endoftext|>", "<extra_id_0>")),
        ("\u200eسلام\u200f", None, ("سلام",)),
    ],
)
def test_genre_and_words(text: str, genre: Genre | None, words: tuple[str, ...]) -> None:
    parsed = story(text)
    assert (parsed.genre, parsed.words) == (genre, words)


@pytest.mark.parametrize(
    "text",
    [
        'sci_fi Tom, dinner "Once upon a time, there was Tom." level=A2 length=short title="Friday evening"',
        "level=a2 sci_fi length=Short “Once upon a time, there was Tom.” title=“Friday evening” Tom, dinner",
        "title='Friday evening' level = A2 sci_fi Tom, dinner «Once upon a time, there was Tom.» len=short",
        "sci_fi „Once upon a time, there was Tom.“ Tom, dinner, title=«Friday evening», level=А2, len=short",
    ],
)
def test_parts_come_in_any_order_and_with_any_quotes(text: str) -> None:
    assert story(text) == StoryArguments(
        words=("Tom", "dinner"),
        genre=Genre.SCI_FI,
        opening="Once upon a time, there was Tom.",
        title="Friday evening",
        level=Level.A2,
        length=Length.SHORT,
    )


def test_every_setting_can_be_given_for_one_story() -> None:
    parsed = story("Tom temperature=0,7 top-p=0.9 topk=40 seed=7 model=genre-gpt2 preset=wild")
    assert parsed.decoding == Decoding(temperature=0.7, top_p=0.9, top_k=40)
    assert (parsed.seed, parsed.model, parsed.preset) == (7, "genre-gpt2", "wild")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("scfi Tom, dinner", "sci_fi"),
        ("sci_fy Tom, dinner", "sci_fi"),
        ("horor, Tom", "horror"),
        ("thriler Tom", "thriller"),
        ("fantacy Tom, dinner", "fantasy"),
        ("super_heros Tom", "superhero"),
        ("romance Tom, dinner", "drama"),
        ("western Tom", "action"),
        ("genre=mistery Tom", "mystery"),
        ("genre=romance Tom", "drama"),
    ],
)
def test_unknown_genre_gets_the_nearest(text: str, nearest: str) -> None:
    problem = wrong(text)
    assert problem.id == "unknown-genre-near"
    assert problem.params["nearest"] == nearest


def test_unknown_genre_like_none_of_ours_lists_them() -> None:
    assert wrong("genre=qqq Tom").id == "unknown-genre"


@pytest.mark.parametrize(
    "text",
    [
        "romance, Tom",
        "crime, Tom",
        "adventure",
        "mastery, auction, thrilled",
        "actions speak, dinner",
        "ice_cream Tom",
        "Acton, Tom",
        "Horor, Tom",
        "super_market, Tom",
        ", drama, Tom",
        ", scfi, Tom",
    ],
)
def test_words_that_only_look_like_genres_are_words(text: str) -> None:
    assert story(text).genre is None
    assert story(text).words


def test_no_word_of_the_learners_levels_is_taken_for_a_misspelt_genre() -> None:
    from cefrpy import CEFRAnalyzer

    from bot.genres import misspelt, named

    analyzer = CEFRAnalyzer()
    words = [word for length in range(4, 11) for word in analyzer.yield_words_with_length(length)]
    known = {word for word in words if word[0] in "acdefhmst" and not named(word)}
    taken = {word for word in known if misspelt(word)}
    assert len(known) > 10_000
    # In that list by level C1 or lower, though no dictionary for learners has them.
    odd = {"dama", "superhard", "trama"}
    assert {word for word in taken if analyzer.get_average_word_level_float(word) < 6} == odd


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        (", ".join(f"word{n}" for n in range(60)), "too-many-words"),
        ("x" * 5000, "message-long"),
        ("a, b " * 1000, "message-long"),
        ("a" * 41, "word-long-no-commas"),
        ("a" * 41 + ", b", "word-long"),
        ("!!!", "not-a-word"),
        ('"Once upon a time', "quote-open"),
        ('""', "opening-empty"),
        ('"One." "Two."', "two-openings"),
        ('"' + "a" * 401 + '"', "opening-long"),
        ("title=" + "a" * 121, "title-long"),
        ("level=C1", "bad-level"),
        ("length=huge", "bad-length"),
        ("level=", "option-empty"),
        ("lvl=A2", "unknown-option-near"),
        ("colour=red", "unknown-option"),
        ("temperature=3", "out-of-range"),
        ("top_p=0", "out-of-range-above"),
        ("top_k=1.5", "bad-whole"),
        ("temperature=warm", "bad-number"),
        ("temperature=nan", "bad-number"),
        ("seed=-1", "bad-seed"),
        ("seed=99999999999", "bad-seed"),
        ("preset=crazy", "bad-preset"),
        ("model=a;b", "bad-model-name") if False else ("model=a<b", "bad-model-name"),
    ],
)
def test_what_can_not_be_done_says_why(text: str, id_: str) -> None:
    problem = wrong(text)
    assert problem.id == id_
    for language in LANGUAGES:
        assert 10 < len(Localiser(language).message(problem)) < 500


def test_the_limit_of_words_is_in_the_sentence() -> None:
    sentence = Localiser("en").message(wrong(", ".join(f"word{n}" for n in range(60))))
    assert "60 words" in sentence
    assert f"up to {MAX_WORDS}" in sentence


def test_sentence_takes_a_phrase_and_needs_one() -> None:
    parsed = parse_sentence('look after "take off"')
    assert isinstance(parsed, StoryArguments)
    assert parsed.words == ("look after", "take off")
    assert isinstance(parse_sentence(" "), Problem)


def test_again_keeps_the_words() -> None:
    assert isinstance(parse_again("level=A1 story=abc"), StoryArguments)
    assert isinstance(parse_again("Tom"), Problem)


def test_typed_options_of_a_platform_mean_the_same_as_text() -> None:
    typed = {"genre": "sci_fi", "words": "Tom, dinner", "level": "A2", "temperature": "0.7"}
    assert parse_story("", typed) == parse_story("sci_fi Tom, dinner level=A2 temperature=0.7")
    words_only = parse_story("", {"words": "drama, Tom"})
    assert isinstance(words_only, StoryArguments)
    assert (words_only.genre, words_only.words) == (None, ("drama", "Tom"))


PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["sci_fi", "scfi", "Tom", ", ", "，", "\n", '"', "«", "»", "“", "level=", "=A2", "title='", " ", "_",
         "\ud800", "\x00", "سلام", "晚餐", "<eos>", "temperature=9", "words=", "story=x", "a_b", "'",
         "👩\u200d👩\u200d👧", "\u202e"]
    ),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from([parse_story, parse_joke, parse_sentence]))
def test_any_text_gives_a_request_or_a_sentence(text: str, parse: object) -> None:
    parsed = parse(text)  # type: ignore[operator]
    if isinstance(parsed, Problem):
        for language in LANGUAGES:
            sentence = Localiser(language).message(parsed)
            assert sentence.strip()
            assert sentence.encode()
    else:
        request = Preferences().request(parsed, Kind.STORY)
        assert request.model_dump_json().encode()
