"""`wordtale train prepare` and `wordtale train keywords`. Knows nothing of how texts are labelled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training.config import TrainingSettings
from training.terminal import fail

if TYPE_CHECKING:
    from rich.progress import TaskID

    from training.data.annotation import Watch

CorpusOption = Annotated[
    Path | None, typer.Option(help="Folder with the source texts; our own alone when not set.")
]
FolderOption = Annotated[Path | None, typer.Option(help="Where data, tokenizer and checkpoints stand.")]


@contextmanager
def _watching() -> Iterator[Watch]:
    """Yield a watch that shows steps as bars on a terminal's stderr, as lines elsewhere."""
    from training.data.prepare import spoken

    if not sys.stderr.isatty():
        yield spoken(lambda line: typer.echo(line, err=True))
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def watch(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total or None)
            progress.update(tasks[step], completed=done)

        yield watch


def prepare_command(
    corpus: CorpusOption = None,
    folder: FolderOption = None,
    meaning: Annotated[
        bool, typer.Option(help="Label genre and storyline, which needs embeddings and most of the time.")
    ] = True,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Documents of a source that get those labels, at most.")
    ] = None,
) -> None:
    """Read, clean, deduplicate and label the corpus; print the data card."""
    from training.data.card import print_card
    from training.data.prepare import prepare
    from training.runs import data_folder

    settings = TrainingSettings()
    if corpus is not None and not corpus.is_dir():
        raise fail(f"there is no folder {corpus}")
    settings.corpus = corpus or settings.corpus
    settings.folder = folder or settings.folder
    try:
        with _watching() as watch:
            card = prepare(
                settings.corpus,
                data_folder(settings),
                lambda line: typer.echo(line, err=True),
                meaning=meaning and settings.meaning,
                limit=limit,
                watch=watch,
            )
    except (FileNotFoundError, ValueError) as error:
        raise fail(str(error)) from error
    print_card(card, Console(width=None if sys.stdout.isatty() else 150))


def keywords_command(
    file: Annotated[
        Path, typer.Argument(help="Text file: a title on the first line if a blank line follows.")
    ],
) -> None:
    """Show the storyline of a text: one lemma of each sentence, with its nearness to the sentence."""
    from training.data.clean import clean, sentences
    from training.data.embeddings import Embedder
    from training.data.storyline import Storyliner

    try:
        raw = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{file} cannot be read as UTF-8 text: {error}") from error
    first, _, rest = raw.strip().partition("\n\n")
    title, body = (first.strip(), rest) if rest and "\n" not in first else ("", raw)
    text = clean(body)
    if text is None:
        raise fail(f"{file} holds no plain English text")
    (line,) = Storyliner(Embedder()).find([text])
    if title:
        typer.echo(f"title: {title}")
    typer.echo("storyline: " + " -> ".join(keyword.word for keyword in line))
    parts = sentences(text)
    for keyword in line:
        typer.echo(f"  {keyword.score:.2f}  {keyword.word} ({keyword.form})  {parts[keyword.sentence]}")


def register(app: typer.Typer) -> None:
    """Add the commands to the training room's."""
    app.command("prepare")(prepare_command)
    app.command("keywords")(keywords_command)
