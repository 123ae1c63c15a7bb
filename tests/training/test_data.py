"""Prepared data: cleaned, split so that nothing leaks, the same on every run, resumable."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.lexicon import used_words
from engine.prompts.codec import Codec
from engine.prompts.storyteller import EOS, STORY, WORDS
from training.data.clean import clean, sentences
from training.data.documents import Document, read_documents
from training.data.examples import render
from training.data.prepare import document_path, prepare
from training.data.stream import Stream
from training.recipe import load_recipe
from training.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(corpus, folder, lambda line: None, meaning=False)
    return folder


@pytest.fixture(scope="module")
def codec(data: Path, recipe_file: Path) -> Codec:
    recipe = load_recipe(str(recipe_file))
    return Codec(train_tokenizer(data, recipe.pretrain.mix, recipe.tokenizer.vocabulary))


def test_held_out_stories_and_their_retellings_never_enter_a_batch(
    data: Path, codec: Codec, recipe_file: Path
) -> None:
    documents = [d for path in data.glob("*.jsonl") for d in read_documents(path)]
    held = [d for d in documents if d.held_out]
    assert held
    trained = {d.text for d in documents if not d.held_out}
    by_group: dict[str, set[bool]] = {}
    for document in documents:
        by_group.setdefault(document.group, set()).add(document.held_out)
    assert all(len(sides) == 1 for sides in by_group.values())
    stream = Stream(
        data, load_recipe(str(recipe_file)).pretrain.mix, codec, batch_tokens=512, context=256, seed=1
    )
    seen = set()
    for _ in range(300):
        for row in stream.next().ids.tolist():
            ids = row[row.index(codec.control(STORY)) + 1 :]
            seen.add(codec.decode(ids[: ids.index(codec.control(EOS))]).strip())
    # Second halves of stories (the continue kind) are parts of trained texts.
    assert all(text in trained or any(whole.endswith(text) for whole in trained) for text in seen)
    assert not seen & {d.text for d in held if d.text not in trained}


def test_a_stream_goes_on_where_another_stopped(data: Path, codec: Codec, recipe_file: Path) -> None:
    mix = load_recipe(str(recipe_file)).pretrain.mix

    def fresh() -> Stream:
        return Stream(data, mix, codec, batch_tokens=512, context=128, seed=3)

    whole = fresh()
    batches = [whole.next().ids for _ in range(900)]
    for stop in (1, 450, 899):
        first = fresh()
        for _ in range(stop):
            first.next()
        second = fresh()
        second.seek(json.loads(json.dumps(first.position)))
        assert second.next().ids.equal(batches[stop])


def _words_of(codec: Codec, prompt: list[int]) -> list[str]:
    """Return the words asked for in a rendered prompt."""
    if codec.control(WORDS) not in prompt:
        return []
    rest = prompt[prompt.index(codec.control(WORDS)) + 1 :]
    stop = next((i for i, token in enumerate(rest) if token in codec.control_ids()), len(rest))
    return codec.decode(rest[:stop]).strip().split(", ")


def test_word_conditions_really_stand_in_the_story(data: Path, codec: Codec) -> None:
    """A condition that the text does not keep would teach the model to leave words out."""
    rng = random.Random(5)
    for document in read_documents(document_path(data, "wordtale_stories")):
        example = render(document, codec, rng, 512)
        prompt, text = (
            codec.decode(example.ids[: example.prompt]),
            codec.decode(example.ids[example.prompt :]),
        )
        del prompt
        words = document.content + document.words
        assert not used_words(words, document.text)[1]
        assert text


def test_the_end_token_is_learned_only_where_the_text_was_not_cut(codec: Codec) -> None:
    document = Document("x", "story", "One two three four five six seven eight. " * 20, "g")
    cut = render(document, codec, random.Random(0), 64)
    whole = render(document, codec, random.Random(0), 4096)
    assert len(cut.ids) == 64
    assert codec.control(EOS) not in cut.ids
    assert whole.ids[-1] == codec.control(EOS)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_cleaning_takes_any_text(text: str) -> None:
    cleaned = clean(text)
    if cleaned is not None:
        assert "\n" not in cleaned
        assert cleaned == cleaned.strip()
        assert " ".join(sentences(cleaned)).replace(" ", "") == cleaned.replace(" ", "")


def test_control_tokens_in_a_text_stay_text(codec: Codec) -> None:
    ids = codec.plain("He typed <eos> and <story>.")
    assert not set(ids) & codec.control_ids()
    assert codec.decode(ids) == "He typed <eos> and <story>."
