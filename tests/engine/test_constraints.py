"""Keeping words: what is favoured where, what counts as used, when a text may end."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.constraints import FIRST_BIAS_HIGH, FIRST_BIAS_LOW, INSIDE_BIAS, LATE_BIAS, WordForms, WordKeeper
from engine.guiding import LONGER, MAX_TITLE_TOKENS, StoryGuide, StoryPlan
from engine.prompts import Codec
from engine.sentences import ends_properly, last_sentence_end, sentence_ends
from engine.vocabulary import Vocabulary
from tests import tiny_model

CODEC = Codec(tiny_model.tokenizer())
EOS, STORY = CODEC.control("<eos>"), CODEC.control("<story>")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("model")
    tiny_model.tokenizer().save(str(folder / "tokenizer.json"))
    return Vocabulary.from_directory(folder)


def keeper_after(text: str, *words: str) -> WordKeeper:
    """Return a keeper that saw `text` token by token."""
    keeper = WordKeeper(WordForms(words, CODEC.plain))
    ids = CODEC.plain(text)
    for end in range(1, len(ids) + 1):
        keeper.observe(ids[end - 1], CODEC.decode(ids[: end - 1]), CODEC.decode(ids[:end]))
    return keeper


def favoured(keeper: WordKeeper, share: float) -> dict[int, float]:
    """Return what the keeper would add to which tokens."""
    push = keeper.push(share)
    state = keeper.state(push)
    if state is None:
        return {}
    return {token: more + push for token, more in keeper.favoured(state).items()}


def first(text: str) -> int:
    return CODEC.plain(text)[0]


class TestWhatCounts:
    @pytest.mark.parametrize(
        ("text", "missing"),
        [
            ("They had dinner. ", []),
            ("They had dinners, ", []),
            ("DINNER was late.", []),
            ("They had a dinn", ["dinner"]),
            ("The dinnerware broke.", ["dinner"]),
        ],
    )
    def test_a_word_in_any_form(self, text: str, missing: list[str]) -> None:
        assert keeper_after(text, "dinner").missing == missing

    def test_a_longer_word_is_another_word(self) -> None:
        assert keeper_after(" I see a cat", "cat").missing == ["cat"]
        assert keeper_after(" I see a catch.", "cat").missing == ["cat"]
        assert keeper_after(" I see a cat.", "cat").missing == []

    def test_irregular_forms_names_and_phrases(self) -> None:
        text = " The children ran to Tom's house. She looked after the dog. "
        assert keeper_after(text, "child", "run", "Tom", "look after", "sea").missing == ["sea"]

    def test_a_name_in_lower_case_does_not_count(self) -> None:
        assert keeper_after(" he met tom. ", "Tom").missing == ["Tom"]

    def test_words_of_the_opening_count(self) -> None:
        forms = WordForms(["dog", "sea"], CODEC.plain)
        assert WordKeeper(forms, "The dog barked.").missing == ["sea"]

    def test_words_of_other_scripts(self) -> None:
        assert keeper_after(" She wrote 猫 on it.", "猫").missing == []
        assert keeper_after(" Он сказал кот. ", "кот").missing == []

    def test_the_last_word_counts_when_the_text_closes(self) -> None:
        keeper = keeper_after(" They had dinner", "dinner")
        keeper.close("They had dinner")
        assert keeper.complete


class TestBias:
    def test_it_rises_with_the_share_of_the_length(self) -> None:
        keeper = keeper_after(" They went home and", "sea")
        token = first(" sea")
        values = [favoured(keeper, share)[token] for share in (0.0, 0.3, 0.5, 0.7, 1.0)]
        assert values == sorted(values)
        assert (values[0], values[-1]) == (FIRST_BIAS_LOW, FIRST_BIAS_HIGH + LATE_BIAS)

    def test_words_met_are_no_longer_favoured(self) -> None:
        keeper = keeper_after(" They saw the sea. Then the old man said that he was", "sea", "dog")
        found = favoured(keeper, 0.5)
        assert first(" dog") in found
        assert first(" sea") not in found

    def test_one_word_at_a_time(self) -> None:
        assert favoured(keeper_after(" They saw the sea,", "sea", "dog"), 0.9) == {}

    def test_inside_a_form_its_next_tokens_are_favoured(self) -> None:
        form = CODEC.plain(" umbrella")
        assert len(form) > 2
        keeper = keeper_after(" an" + CODEC.decode(form[:2]), "umbrella")
        assert favoured(keeper, 0.0)[form[2]] == FIRST_BIAS_LOW + INSIDE_BIAS

    def test_capitals_stand_at_the_start_of_a_sentence_only(self) -> None:
        plan = WordForms(["yesterday"], CODEC.plain)
        small, capital, glued = (first(text) for text in (" yesterday", " Yesterday", "Yesterday"))
        assert len({small, capital, glued}) == 3
        inside = favoured(keeper_after(" They went home and", "yesterday"), 0.9)
        assert small in inside
        assert capital not in inside
        opening = favoured(keeper_after(" They went home.", "yesterday"), 0.9)
        assert capital in opening
        assert small not in opening
        quoted = favoured(keeper_after(' He said, "', "yesterday"), 0.9)
        assert glued in quoted
        assert favoured(WordKeeper(plan), 0.9).keys() >= {capital, glued}

    def test_a_word_is_not_asked_for_twice(self) -> None:
        assert favoured(keeper_after(" They read it carefully", "carefully", "dog"), 0.9) == {}

    def test_a_complete_form_is_not_pushed_on(self) -> None:
        form = CODEC.plain(" run")
        keeper = keeper_after(CODEC.decode(form), "run")
        following = set(CODEC.plain(" running")[len(form) :])
        pushed = {token for token, value in favoured(keeper, 0.5).items() if value >= INSIDE_BIAS}
        assert not following & pushed

    def test_no_words_no_bias(self) -> None:
        keeper = WordKeeper(WordForms([], CODEC.plain))
        assert keeper.complete
        assert favoured(keeper, 1.0) == {}

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.text(min_size=1, max_size=12).filter(str.strip), max_size=3),
        st.lists(st.integers(0, CODEC.size - 1), max_size=40),
        st.floats(0, 1),
    )
    def test_any_words_and_tokens(self, words: list[str], ids: list[int], share: float) -> None:
        keeper = WordKeeper(WordForms(words, CODEC.plain))
        for end in range(1, len(ids) + 1):
            keeper.observe(ids[end - 1], CODEC.decode(ids[: end - 1]), CODEC.decode(ids[:end]))
            highest = FIRST_BIAS_HIGH + LATE_BIAS + INSIDE_BIAS
            assert all(0 <= value <= highest for value in favoured(keeper, share).values())


class TestGuide:
    @pytest.fixture
    def plan(self, vocabulary: Vocabulary) -> StoryPlan:
        return StoryPlan(
            vocabulary=vocabulary,
            words=WordForms(["sea"], CODEC.plain),
            end_ids=frozenset({EOS}),
            banned=CODEC.control_ids() - {EOS},
            title_end=None,
            max_new_tokens=20,
        )

    @staticmethod
    def write(guide: StoryGuide, text: str) -> bool:
        return [guide.observe(token) for token in CODEC.plain(text)][-1]

    @staticmethod
    def value(guide: StoryGuide, token: int) -> float:
        bias = guide.bias()
        assert bias is not None
        return float({int(i): v for i, v in zip(bias.ids, bias.values, strict=True)}.get(token, 0.0))

    def test_the_end_is_held_back_while_a_word_is_missing(self, plan: StoryPlan) -> None:
        guide = StoryGuide(plan)
        self.write(guide, " They had a cat.")
        assert self.value(guide, EOS) == -math.inf
        self.write(guide, " It saw the sea.")
        assert self.value(guide, EOS) >= 0

    def test_nothing_ends_before_it_began(self, plan: StoryPlan) -> None:
        guide = StoryGuide(replace(plan, words=WordForms([], CODEC.plain)))
        assert self.value(guide, EOS) == -math.inf

    def test_it_gives_up_at_a_sentence_end_when_the_length_is_used_up(self, plan: StoryPlan) -> None:
        guide = StoryGuide(plan)
        over = [guide.observe(token) for _ in range(19) for token in CODEC.plain(" cat")]
        assert not any(over)
        assert self.value(guide, EOS) == -math.inf
        assert guide.observe(CODEC.plain(".")[0])

    def test_the_end_is_favoured_at_sentence_ends_late_in_the_text(self, plan: StoryPlan) -> None:
        guide = StoryGuide(plan)
        self.write(guide, " The sea was cold.")
        early = self.value(guide, EOS)
        while guide._share < 0.85:
            guide.observe(CODEC.plain(" dog")[0])
        inside = self.value(guide, EOS)
        self.write(guide, ".")
        assert (early, inside) == (0.0, 0.0)
        assert self.value(guide, EOS) > 1.0

    def test_a_whole_form_becomes_no_other_word(self, vocabulary: Vocabulary) -> None:
        plan = StoryPlan(
            vocabulary=vocabulary,
            words=WordForms(["cat"], CODEC.plain),
            end_ids=frozenset({EOS}),
            banned=frozenset(),
            title_end=None,
            max_new_tokens=60,
        )

        def bias_after(text: str) -> dict[str, float]:
            guide = StoryGuide(plan)
            for token in CODEC.plain(text):
                guide.observe(token)
            bias = guide.bias()
            assert bias is not None
            return {CODEC.decode([int(i)]): float(v) for i, v in zip(bias.ids, bias.values, strict=True)}

        after = bias_after(" I see a cat")
        assert after["e"] == after["l"] == LONGER
        assert after.get("s", 0.0) > LONGER, "cats is a form too"
        assert "." not in after
        assert LONGER not in bias_after(" I see a dog").values()

    def test_control_tokens_are_never_drawn(self, plan: StoryPlan) -> None:
        guide = StoryGuide(plan)
        assert all(self.value(guide, token) == -math.inf for token in CODEC.control_ids() - {EOS})

    def test_a_title_comes_first_is_not_empty_and_ends(self, plan: StoryPlan) -> None:
        guide = StoryGuide(replace(plan, title_end=STORY, max_new_tokens=100))
        assert self.value(guide, STORY) == -math.inf
        assert self.value(guide, EOS) == -math.inf
        for _ in range(MAX_TITLE_TOKENS):
            guide.observe(CODEC.plain(" sea")[0])
        assert self.value(guide, STORY) > 50
        assert self.value(guide, first(" sea")) == 0.0
        guide.observe(STORY)
        assert self.value(guide, STORY) == -math.inf
        assert guide.missing == ["sea"]

    def test_a_sentence_is_over_after_one_sentence(self, plan: StoryPlan) -> None:
        guide = StoryGuide(replace(plan, one_sentence=True, max_new_tokens=60))
        assert not self.write(guide, " They went home again.")
        assert self.write(guide, " The old dog saw the sea.")

    def test_a_fork_goes_its_own_way(self, plan: StoryPlan) -> None:
        guide = StoryGuide(plan)
        self.write(guide, " They saw")
        twin = guide.fork()
        self.write(twin, " the sea.")
        assert (guide.missing, twin.missing) == (["sea"], [])


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "ends"),
        [
            ("Tom ran. He fell!", ["Tom ran.", "He fell!"]),
            ("Mr. Smith met Dr. No. They left.", ["Mr. Smith met Dr. No.", "They left."]),
            ('"Go. Now!" she said. Then', ['"Go. Now!" she said.']),
            ("It cost 3.50 dollars.", ["It cost 3.50 dollars."]),
            ("Well... then he left.", ["Well... then he left."]),
            ("他笑了。她哭了。", ["他笑了。", "她哭了。"]),
            ("No end", []),
        ],
    )
    def test_ends(self, text: str, ends: list[str]) -> None:
        cuts = [0, *sentence_ends(text)]
        assert [text[a:b].strip() for a, b in pairwise(cuts)] == ends
        assert last_sentence_end(text) == cuts[-1]

    @settings(max_examples=300, deadline=None)
    @given(st.text(alphabet="aM r.Dr!?…\"”’)]。」 ‘“'\n", max_size=40))
    def test_a_proper_end_is_where_the_last_sentence_ends(self, text: str) -> None:
        stripped = text.rstrip()
        assert ends_properly(text) == (bool(stripped) and last_sentence_end(stripped) == len(stripped))

    def test_proper_ends(self) -> None:
        assert ends_properly('He said, "Go." ')
        assert not ends_properly('He said, "Go.')
        assert not ends_properly("and then")
        assert not ends_properly("")


class TestVocabulary:
    @settings(max_examples=50, deadline=None)
    @given(st.text(max_size=30))
    def test_pieces_join_to_the_text(self, vocabulary: Vocabulary, text: str) -> None:
        assert vocabulary.text(CODEC.plain(text)) == text

    def test_control_tokens_are_empty(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.text([EOS, STORY, 10**6]) == ""
