"""The bots' commands: `wordtale chat | story | generate | run | config`.

Knows names and options; everything else is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from engine.schema import MAX_CANDIDATES, MAX_SEED, decoding_ranges

_RANGES = decoding_ranges()


def _number(name: str, help_: str) -> Any:
    lowest, highest = _RANGES[name]
    return typer.Option("--" + name.replace("_", "-"), min=lowest, max=highest, help=help_)


Seed = Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="Same seed, same story.")]
Model = Annotated[str | None, typer.Option(help="Which model writes; `wordtale models list` names them.")]
Temperature = Annotated[float | None, _number("temperature", "Low is calm, high is surprising.")]
TopP = Annotated[float | None, _number("top_p", "Only the likeliest next words, up to this share.")]
TopK = Annotated[int | None, _number("top_k", "Only so many of the likeliest next words; 0 = no limit.")]
MinP = Annotated[float | None, _number("min_p", "Leaves out words much less likely than the best.")]
Penalty = Annotated[float | None, _number("repetition_penalty", "Above 1, used words come less often.")]
NoRepeat = Annotated[int | None, _number("no_repeat_ngram_size", "No run of so many words twice; 0 = off.")]
Dry = Annotated[float | None, _number("dry_multiplier", "What a phrase said before costs; 0 = off.")]
DryBase = Annotated[float | None, _number("dry_base", "How fast that rises with each repeated token.")]
DryAllowed = Annotated[int | None, _number("dry_allowed_length", "Repeated tokens that cost nothing yet.")]
Beams = Annotated[int | None, _number("num_beams", "Drafts side by side; not every model can.")]
MaxNew = Annotated[int | None, _number("max_new_tokens", "The most that may be written, in tokens.")]


def chat() -> None:
    """Chat with the storyteller in this terminal, or through a pipe."""
    from bot import chat as terminal

    raise typer.Exit(terminal.chat())


def story(
    words: Annotated[
        list[str] | None, typer.Argument(help="[GENRE] WORD, WORD, … as in the chat: sci_fi Tom, dinner")
    ] = None,
    opening: Annotated[str | None, typer.Option(help="How the story begins.")] = None,
    title: Annotated[str | None, typer.Option(help="The story's title.")] = None,
    level: Annotated[str | None, typer.Option(help="A1, A2, B1 or B2.")] = None,
    length: Annotated[str | None, typer.Option(help="short, medium or long.")] = None,
    kind: Annotated[Literal["story", "sentence", "joke"], typer.Option(help="What to write.")] = "story",
    seed: Seed = None,
    model: Model = None,
    preset: Annotated[str | None, typer.Option(help="careful, balanced or wild.")] = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    repetition_penalty: Penalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    dry_multiplier: Dry = None,
    dry_base: DryBase = None,
    dry_allowed_length: DryAllowed = None,
    num_beams: Beams = None,
    max_new_tokens: MaxNew = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, max=MAX_CANDIDATES, help="Drafts to choose the best of.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="One request a line, as JSON; - is stdin.")
    ] = None,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object a line.")] = False,
) -> None:
    """Tell one story with these words, or one for each line of a file."""
    given = {name: value for name, value in locals().items() if value is not None and name in _STORY_OPTIONS}
    from bot import oneshot
    from bot.messages import Problem

    if from_file is not None:
        if words or given or candidates is not None:
            raise typer.BadParameter("--from takes words and options from the file alone.")
        raise typer.Exit(oneshot.file_of_stories(from_file, as_jsonl=as_json or as_jsonl))
    request = _request(" ".join(words or []), given, kind, candidates)
    as_json = as_json or as_jsonl
    if isinstance(request, Problem):
        raise typer.Exit(oneshot.say_problem(request, as_json=as_json))
    raise typer.Exit(oneshot.one_story(request, as_json=as_json))


_STORY_OPTIONS = frozenset(("opening", "title", "level", "length", "seed", "model", "preset", *_RANGES))


def _request(text: str, given: dict[str, Any], kind: str, candidates: int | None) -> Any:
    """Return the StoryRequest for what was typed, read by the grammar of the chat, or a Problem."""
    from bot import grammar
    from bot.messages import Problem
    from bot.preferences import Preferences
    from engine.schema import Kind

    form = {"story": grammar.STORY, "sentence": grammar.SENTENCE, "joke": grammar.JOKE}[kind]
    arguments = grammar.parse(form, text, {name: str(value) for name, value in given.items()})
    if isinstance(arguments, Problem):
        return arguments
    return Preferences().request(arguments, Kind(kind), n_candidates=candidates)


def generate(
    prompt: Annotated[str, typer.Option(help="What to continue.")] = " ",
    length: Annotated[int, typer.Option(min=1, max=512, help="Tokens to write.")] = 70,
    model: Model = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    repetition_penalty: Penalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    dry_multiplier: Dry = None,
    dry_base: DryBase = None,
    dry_allowed_length: DryAllowed = None,
    num_beams: Beams = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Continue a prompt just as the model goes on, without words to keep or a prompt format."""
    given = {name: value for name, value in locals().items() if value is not None and name in _RANGES}
    from pydantic import ValidationError

    from bot import oneshot
    from bot.complaints import complaints
    from engine.schema import Decoding, PlainRequest

    try:
        decoding = Decoding.model_validate(given)
        request = PlainRequest(prompt=prompt, length=length, model=model, seed=seed, decoding=decoding)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(complaints(error))) from error
    raise typer.Exit(oneshot.one_continuation(request, as_json=as_json))


def run() -> None:
    """Start the engine and every front end that is configured, and keep them alive."""
    from bot import supervisor
    from bot.config import BotSettings

    raise typer.Exit(supervisor.run(BotSettings()))


def config(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show the effective settings of every room, secrets masked."""
    import json

    from bot import effective

    rooms = effective.rooms()
    if as_json:
        values = {row.variable: row.value for room in rooms for row in room.rows}
        typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
    else:
        typer.echo("\n\n".join(_room_text(room) for room in rooms))
    for room in rooms:
        if room.trouble:
            typer.echo(f"{room.name}: {room.trouble}", err=True)
    raise typer.Exit(1 if any(room.trouble for room in rooms) else 0)


def _room_text(room: Any) -> str:
    lines = [f"{room.name}:"]
    for row in room.rows:
        source = "set" if row.is_set else "default"
        lines.append(
            f"  {row.variable}={row.value}  # {source}" + (f"; {row.description}" if row.description else "")
        )
    return "\n".join(lines)
