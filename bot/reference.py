"""docs/commands.md, made from the catalog: `python -m bot.reference > docs/commands.md`; a test compares."""

from __future__ import annotations

import sys

from bot.catalog import CATALOG, Access, Argument, Command
from bot.genres import listed
from bot.grammar import MAX_MESSAGE_CHARS
from bot.localisation import Localiser
from engine.schema import MAX_WORD_CHARS, MAX_WORDS, PRESETS

_HEAD = """\
# Commands

Made from `bot/catalog.py` by `python -m bot.reference`; not edited by hand. The same commands work in the
terminal (`wordtale chat`) and on every chat platform, in English, Russian and Chinese.

## How a line is read

- Words are cut at commas of any script (`,` `，` `、` `،` `;`) and at line breaks. Without any comma each
  word counts by itself: `/story Tom dinner` asks for two. A phrase needs a comma somewhere:
  `/story look after, Tom`; alone it is written `/story look after,` or `/story look_after`.
  `/sentence look after` takes the whole text as one phrase.
- The genre stands first: {genres}.
  `sci-fi`, `SciFi`, `SF`, `science fiction` are `sci_fi`. Ordinary words such as *crime* or *adventure* are
  taken for a genre only when another word follows without a comma (`crime Tom, dinner`). To use a genre's
  name as a word, start with a comma: `/story , drama, Tom`.
- A slip in a genre's name (`scfi`, `horor`) and a genre that is not there (`romance Tom, dinner`) get the
  nearest one suggested. A capitalised word, or an English word that only looks like a genre (*mastery*,
  *auction*), is a word.
- A text in quotes of any kind is the opening line. Options are `key=value`, with quotes where the value has
  spaces: `title="Friday evening"`. All settings of `/settings` can be given for one story: `temperature=1.1`.
- At most {words} words of {word_chars} characters, and {message_chars} characters in all. Control tokens of
  a model (`<eos>`) are plain text. A line without a slash gets a hint.

## Presets

{presets}
"""


def markdown() -> str:
    """Return the whole page."""
    presets = "\n".join(
        f"- `{name}`: "
        + ", ".join(f"{key} {value:g}" for key, value in preset.model_dump(exclude_none=True).items())
        for name, preset in PRESETS.items()
    )
    head = _HEAD.format(
        genres=listed(),
        words=MAX_WORDS,
        word_chars=MAX_WORD_CHARS,
        message_chars=MAX_MESSAGE_CHARS,
        presets=presets,
    )
    say = Localiser("en")
    return head + "".join(_section(command, say) for command in CATALOG.commands)


def _section(command: Command, say: Localiser) -> str:
    facts = []
    if command.access is not Access.EVERYONE:
        facts.append(f"For {command.access.value}.")
    if command.cooldown:
        facts.append(f"Once every {command.cooldown:g} seconds.")
    details = say(f"{command.name}-details", limit=MAX_WORDS).replace("\n", "  \n")
    parts = [
        f"\n## /{command.name}\n\n{say(command.name + '-summary')}. {' '.join(facts)}".rstrip(),
        f"    {say(command.name + '-usage')}",
        details,
    ]
    if command.arguments:
        rows = "\n".join(_row(argument, say) for argument in command.arguments)
        parts.append("| Argument | Values | What it is |\n|---|---|---|\n" + rows)
    return "\n\n".join(parts) + "\n"


def _row(argument: Argument, say: Localiser) -> str:
    if argument.choices:
        values = ", ".join(argument.choices)
    elif argument.lowest is not None and argument.highest is not None:
        values = f"{argument.lowest:.10g} to {argument.highest:.10g}"
    else:
        values = argument.kind.value
    return f"| `{argument.name}` | {values} | {say(argument.help_id)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
