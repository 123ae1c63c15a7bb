"""The models the engine knows: shipped ones and those that were added; which one is the default.

A model is a directory in Hugging Face layout with `wordtale.json`. Weights are safetensors only: pickles
can run code. Knows nothing of how a model is run.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import EngineSettings
from engine.errors import InvalidRequest, ModelRefused, ModelUnknown

CARD = "wordtale.json"
SHIPPED = Path(__file__).parent / "models"
STATE = "default.json"
MAX_PREVIOUS = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<!\.part)")


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model without loading it. `context` 0 means unknown.

    `changed` tells what lies in the directory from what lay there before: nanoseconds of its newest file.
    """

    name: str
    family: str
    version: str
    description: str
    parameters: int
    context: int
    directory: Path
    architecture: str
    encodes: bool
    changed: int = 0


def read_card(directory: Path) -> ModelCard:
    """Read a model directory. Raises ModelRefused when it isn't one."""
    try:
        card = json.loads((directory / CARD).read_text(encoding="utf-8"))
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        changed = max(path.stat().st_mtime_ns for path in _parts(directory))
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{directory} is no model directory: {error}") from error
    return ModelCard(
        name=directory.name,
        family=str(card.get("family", "plain")),
        version=str(card.get("version", "0")),
        description=str(card.get("description", "")),
        parameters=int(card.get("parameters", 0)),
        context=_context(config),
        directory=directory,
        architecture=str((config.get("architectures") or ["?"])[0]),
        encodes=bool(config.get("is_encoder_decoder", False)),
        changed=changed,
    )


def _parts(directory: Path) -> list[Path]:
    return [directory / CARD, directory / "config.json", *directory.glob("*.safetensors")]


def _context(config: dict[str, Any]) -> int:
    names = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)


class Registry:
    """Model directories under the package and under the folder of added models."""

    def __init__(self, settings: EngineSettings, shipped: Path = SHIPPED) -> None:
        self._settings = settings
        self._folders = (settings.models_path(), shipped)

    @property
    def folder(self) -> Path:
        """Where added models live."""
        return self._folders[0]

    def cards(self) -> list[ModelCard]:
        """Return all models by name; an added model hides a shipped one of the same name.

        A directory that can't be read is left out: asking for it by name says why.
        """
        found: dict[str, ModelCard] = {}
        for folder in reversed(self._folders):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if (path / CARD).is_file() and not path.name.endswith(".part"):
                    with suppress(ModelRefused):
                        found[path.name] = read_card(path)
        return [found[name] for name in sorted(found)]

    def card(self, name: str | None = None) -> ModelCard:
        """Return a model by name, the default without one. Raises ModelUnknown naming the nearest."""
        wanted = name or self.default()
        if _NAME.fullmatch(wanted):
            for folder in self._folders:
                if (folder / wanted / CARD).is_file():
                    return read_card(folder / wanted)
        names = [card.name for card in self.cards()]
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(names) or 'none'}."
        raise ModelUnknown(f"There is no model called {wanted[:60]}.{hint}")

    def default(self) -> str:
        """Return the default model's name: an explicit setting, else the one last put to use."""
        if self.fixed:
            return self._settings.default_model
        return str(self._state().get("default") or self._settings.default_model)

    def add(
        self, source: Path, *, name: str | None = None, family: str | None = None, link: bool = False
    ) -> ModelCard:
        """Copy (or link) a model directory into the folder of added models.

        Raises ModelRefused with a sentence for what can't or mustn't be run, InvalidRequest for a bad name.
        """
        from engine.adding import prepare

        chosen = name or source.resolve().name
        if not _NAME.fullmatch(chosen):
            raise InvalidRequest("A model's name is made of letters, digits, dots, dashes and underscores.")
        if (self.folder / chosen).exists():
            raise InvalidRequest(
                f"There is a model called {chosen} already: choose another name or remove it."
            )
        prepare(source, self.folder / chosen, family=family, link=link)
        return self.card(chosen)

    def use(self, name: str) -> ModelCard:
        """Make a model the default, also after a restart. Raises ModelUnknown."""
        card = self.card(name)
        current = self.default()
        if card.name != current:
            previous = [*self._before(), current][-MAX_PREVIOUS:]
            self._write_state({"default": card.name, "previous": previous})
        return card

    def rollback(self) -> ModelCard:
        """Make the previous default the default again. Raises InvalidRequest when there is none."""
        card = self.previous()
        self._write_state({"default": card.name, "previous": self._before()[:-1]})
        return card

    def previous(self) -> ModelCard:
        """Return the default before this one. Raises InvalidRequest when there is none."""
        names = self._before()
        if not names:
            raise InvalidRequest("There is no earlier default model to go back to.")
        return self.card(names[-1])

    @property
    def fixed(self) -> bool:
        """Whether a setting says what the default is, whatever was put to use."""
        return "default_model" in self._settings.model_fields_set

    def fallbacks(self) -> list[str]:
        """Return the names to try, in order, when the default that was put to use can't be loaded."""
        if self.fixed:
            return []
        names = [*reversed(self._before()), self._settings.default_model]
        return [name for name in dict.fromkeys(names) if name != self.default()]

    def _before(self) -> list[str]:
        names = self._state().get("previous")
        return [str(name) for name in names] if isinstance(names, list) else []

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self, state: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{STATE}.part"
        part.write_text(json.dumps(state, indent=1), encoding="utf-8")
        part.replace(self.folder / STATE)

    def remove(self, name: str) -> None:
        """Delete an added model. Raises ModelUnknown, or InvalidRequest for the default one."""
        card = self.card(name)
        if card.name == self.default() or card.directory.parent != self.folder:
            raise InvalidRequest(f"{name} is in use or part of the package; it stays.")
        if card.directory.is_symlink():
            card.directory.unlink()
        else:
            shutil.rmtree(card.directory)
