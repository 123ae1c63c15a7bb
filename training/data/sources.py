"""The permitted sources, each with its licence and reader. Knows nothing of mixing or tokenizing.

Left out on purpose: evaluation-only sets (mctest, roc_reference, tinystories/valid_part, fairytaleqa's
questions, movielens plots), share-alike texts (onestop_english, genre_movie_plots) and texts made by Llama
models (snakes, hanna_llm_stories, rows of tinyfabulist), whose licence would oblige the model's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.data import readers
from training.data.readers import Reader


@dataclass(frozen=True)
class Source:
    """Where a source stands below the corpus folder, under which licence, and how it is read."""

    name: str
    folder: str
    licence: str
    credit: str
    read: Reader


_USA = "CC0 / public domain in the USA"
SOURCES: tuple[Source, ...] = (
    Source("wordtale_stories", "wordtale_stories", "CC0-1.0", "Wordtale", readers.own_stories),
    Source("wordtale_simpler", "wordtale_simpler", "CC0-1.0", "Wordtale", readers.own_retellings),
    Source("wordtale_sentences", "wordtale_sentences", "CC0-1.0", "Wordtale", readers.own_sentences),
    Source("wordtale_jokes", "wordtale_jokes", "CC0-1.0", "Wordtale", readers.own_jokes),
    Source("official_joke_api", "jokes", "MIT", "official_joke_api", readers.open_jokes),
    Source(
        "tinystories",
        "tinystories",
        "CDLA-Sharing-1.0",
        "Eldan and Li 2023, arXiv:2305.07759",
        readers.tinystories,
    ),
    Source("tinyfabulist", "tinyfabulist", "MIT", "Copyright (c) 2025 KlusAI Labs", readers.fables),
    Source(
        "pratham_books",
        "pratham_books",
        "CC BY 4.0",
        "the authors of Pratham Books StoryWeaver",
        readers.picture_books("pratham_books"),
    ),
    Source(
        "african_storybook",
        "african_storybook",
        "CC BY 4.0",
        "the authors of African Storybook",
        readers.picture_books("african_storybook"),
    ),
    Source(
        "bookdash", "bookdash", "CC BY 4.0", "the creators of Book Dash", readers.picture_books("bookdash")
    ),
    Source("aesop_fables", "aesop_fables", "public domain", "The Aesop for Children, 1919", readers.aesop),
    Source("tatoeba_english", "tatoeba_english", "CC BY 2.0 FR", "tatoeba.org", readers.tatoeba),
    Source("gpt_novel_plots", "gpt_novel_plots", "MIT", "gpt_novel_plots", readers.plots),
    Source(
        "gpt_stories_world",
        "gpt_stories_world",
        "MIT",
        "Copyright (c) 2025 Jill Walker Rettberg and Hermann Wigers, doi:10.5281/zenodo.14938999",
        readers.world_stories,
    ),
    Source(
        "standard_ebooks",
        "standard_ebooks",
        _USA,
        "Standard Ebooks",
        readers.long_texts("standard_ebooks", "standard_ebooks", "children", "book", "part"),
    ),
    Source(
        "standard_ebooks_fiction",
        "standard_ebooks",
        _USA,
        "Standard Ebooks",
        # Spread over all books: more of this older prose than a mix for learners can use.
        readers.long_texts("standard_ebooks_fiction", "standard_ebooks", "fiction", "book", "part", every=5),
    ),
    Source(
        "fairy_tales_pd",
        "fairy_tales_pd",
        "public domain in the USA",
        "Grimm, Lang, Jacobs, Perrault, Burgess",
        readers.long_texts("fairy_tales_pd", "fairy_tales_pd", "tales", "collection", "title"),
    ),
    Source(
        "fairytaleqa",
        "fairytaleqa",
        "public domain (collection Apache-2.0)",
        "Xu et al. 2022, FairytaleQA",
        readers.long_texts("fairytaleqa", "fairytaleqa", "stories", "origin", "title"),
    ),
    Source(
        "pulp_detective",
        "pulp_detective",
        "public domain in the USA",
        "talesofmurder.com",
        readers.long_texts("pulp_detective", "pulp_detective", "stories", "title", "author"),
    ),
)
