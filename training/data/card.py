"""The data card: what came of each source and how well it was labelled. Knows nothing of how that is done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.data.documents import Document
from training.data.genre import PRECISION, GenreFigures
from training.data.whole_files import write_json
from training.recipe import load_recipe

# One row a source: what model cards are made from. The figures about labels stand beside it.
CARD = "data_card.json"
REPORT = "data_report.json"
RECIPE = "storyteller"
TOKENIZER = Path(__file__).parents[2] / "engine" / "models" / "storyteller" / "tokenizer.json"


@dataclass
class SourceCard:
    """What came of one source.

    `words` are whitespace tokens, `tokens` ids of the shipped tokenizer (None without it), of the texts kept.
    `refused_for` splits `refused` by reason. `near_held_out` is the part of `near_duplicates` that was like a
    held-out text. Shares are those of the default recipe's mixes that go to this source.
    """

    name: str
    licence: str
    credit: str
    documents: int = 0
    held_out: int = 0
    words: int = 0
    refused: int = 0
    duplicates: int = 0
    tokens: int | None = None
    refused_for: dict[str, int] = field(default_factory=dict)
    near_duplicates: int = 0
    near_held_out: int = 0
    storylines: int = 0
    genres_read: int = 0
    share_pretrain: float = 0.0
    share_finetune: float = 0.0


@dataclass
class DataCard:
    """The card of a whole prepared folder; `key` says from which files and by which rules it was made."""

    key: str
    sources: list[SourceCard]
    genre: GenreFigures | None = None
    levels: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the source rows to data_card.json and everything else to data_report.json."""
        rows = [asdict(source) for source in self.sources]
        report = {
            "key": self.key,
            "genre_classifier": asdict(self.genre) if self.genre else None,
            "levels_asked_x_measured": self.levels,
        }
        for name, value in ((CARD, rows), (REPORT, report)):
            write_json(folder / name, value, indent=1)


def load_card(folder: Path) -> DataCard | None:
    """Return the card of a prepared folder; None when there is none or an earlier version wrote it."""
    if not (folder / CARD).exists() or not (folder / REPORT).exists():
        return None
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    rows = json.loads((folder / CARD).read_text(encoding="utf-8"))
    genre = report["genre_classifier"]
    return DataCard(
        report["key"],
        [SourceCard(**row) for row in rows],
        GenreFigures(**genre) if genre else None,
        report["levels_asked_x_measured"],
    )


def count(card: SourceCard, documents: Sequence[Document]) -> None:
    """Fill in what can be counted on the finished documents of a source."""
    card.documents = len(documents)
    card.held_out = sum(d.held_out for d in documents)
    card.words = sum(len(d.text.split()) for d in documents)
    card.storylines = sum(bool(d.storyline) for d in documents)
    card.genres_read = sum(d.genre_confidence is not None for d in documents)
    if TOKENIZER.exists():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        encoded = tokenizer.encode_batch_fast([" " + d.text for d in documents], add_special_tokens=False)
        card.tokens = sum(len(row.ids) for row in encoded)


def set_shares(sources: Sequence[SourceCard]) -> None:
    """Set each source's share of the default recipe's mixes, out of the sources that are there."""
    recipe = load_recipe(RECIPE)
    names = {source.name for source in sources if source.documents}
    for stage, field_name in ((recipe.pretrain, "share_pretrain"), (recipe.finetune, "share_finetune")):
        total = sum(share for name, share in stage.mix.items() if name in names)
        for source in sources:
            share = stage.mix.get(source.name, 0.0) if source.name in names else 0.0
            setattr(source, field_name, round(share / total, 4) if total else 0.0)


def _source_table(card: DataCard) -> Table:
    table = Table(
        title="Data card", caption="pre, fine: share of the tokens trained on, by the default recipe"
    )
    table.add_column("source")
    table.add_column("licence")
    for name in ("documents", "held out", "words", "tokens", "refused", "same", "alike", "pre", "fine"):
        table.add_column(name, justify="right")
    for row in card.sources:
        numbers = (row.documents, row.held_out, row.words, row.tokens, row.refused)
        table.add_row(
            row.name,
            row.licence,
            *(f"{number:,}" if number is not None else "–" for number in numbers),
            f"{row.duplicates:,}",
            f"{row.near_duplicates:,}",
            *(f"{share:.1%}" if share else "–" for share in (row.share_pretrain, row.share_finetune)),
        )
    return table


def _level_table(name: str, levels: dict[str, dict[str, int]]) -> Table:
    table = Table(title=f"{name}: level asked for (rows), measured (columns)")
    columns = ("A1", "A2", "B1", "B2")
    for heading in ("", *columns, "moved"):
        table.add_column(heading, justify="right")
    for asked, row in levels.items():
        total = sum(row.values())
        moved = 1 - row.get(asked, 0) / total
        table.add_row(asked, *(f"{row.get(column, 0):,}" for column in columns), f"{moved:.0%}")
    return table


def _genre_table(genre: GenreFigures) -> Table:
    caption = (
        f"{genre.stories} held-out stories: right {genre.top1:.1%}, in the first two {genre.top2:.1%}. "
        f"From confidence {genre.threshold:.2f} on {PRECISION:.0%} are right; {genre.kept:.0%} reach it."
    )
    table = Table(title="Genre classifier", caption=caption)
    for heading in ("genre", "precision", "recall", "stories"):
        table.add_column(heading, justify="left" if heading == "genre" else "right")
    for name, (precision, recall, stories) in genre.per_genre.items():
        table.add_row(name, f"{precision:.2f}", f"{recall:.2f}", str(stories))
    return table


def print_card(card: DataCard, console: Console) -> None:
    """Print the card as tables, and the figures on labels below it."""
    console.print(_source_table(card))
    reasons: Counter[str] = Counter()
    for source in card.sources:
        reasons.update(source.refused_for)
    if reasons:
        console.print("refused: " + ", ".join(f"{reason} {n:,}" for reason, n in reasons.most_common()))
    near = sum(source.near_held_out for source in card.sources)
    console.print(f"near-duplicates of held-out texts kept from training: {near:,}")
    console.print("credit: " + "; ".join(dict.fromkeys(source.credit for source in card.sources)))
    for name, levels in card.levels.items():
        console.print(_level_table(name, levels))
    if card.genre:
        console.print(_genre_table(card.genre))
        pairs = ", ".join(f"{a} read as {b} {n}" for a, b, n in card.genre.confused)
        console.print(f"most confused: {pairs}")
