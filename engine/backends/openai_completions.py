"""Stories written by an OpenAI-compatible completion server: vLLM, llama.cpp's, transformers serve, others.

The local model directory gives the prompt format and the tokenizer; weights need not be there. Knows models
and settings; what is said to the server is the other openai_ modules' business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING

from engine.backends.base import WholeJob
from engine.backends.openai_calls import Caller
from engine.backends.openai_connection import Connection
from engine.backends.openai_drafts import Drafts
from engine.backends.openai_prompts import TextForm
from engine.errors import ModelRefused, UnsupportedSetting
from engine.jobs import RowResult
from engine.loading import DEFAULT_CONTEXT, LoadedModel
from engine.prompts import Codec, family_for
from engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from engine.config import EngineSettings
    from engine.registry import ModelCard

# How often a blocking caller is asked whether it still waits.
ASK_SECONDS = 0.05
# Drafts of a job end one after another, so that two jobs share a place well.
JOBS_PER_PLACE = 2
MIN_JOBS = 2


class OpenAIBackend:
    """Writes whole texts through a completion server; see `WholeBackend` and `RemoteBackend`."""

    def __init__(
        self, connection: Connection, form: TextForm, codec: Codec, vocabulary: Vocabulary, context: int
    ) -> None:
        self.vocab_size = codec.size
        self.context = context
        self._connection = connection
        self._caller = Caller(connection, form)
        self._form = form
        self._encode = _encoder(codec, vocabulary)
        self._controls = codec.control_ids()

    def begin(self, job: WholeJob) -> Future[list[RowResult]]:
        """Start writing; cancelling the future closes the calls. Its exceptions are EngineErrors."""
        return self._connection.submit(self._write(job))

    def generate(self, job: WholeJob) -> list[RowResult]:
        """Write and wait; gives no drafts when `job.stop()` becomes true meanwhile."""
        future = self.begin(job)
        while True:
            try:
                return future.result(timeout=ASK_SECONDS)
            except NotYet:
                if future.done():
                    raise
                if job.stop():
                    future.cancel()
                    return []
            except CancelledError:
                return []

    async def _write(self, job: WholeJob) -> list[RowResult]:
        if job.num_beams > 1:
            raise UnsupportedSetting("A completion server has no beams: please leave num_beams out.")
        drafts = Drafts(job, self._caller, self._form, self._controls, self._encode)
        return await drafts.write()


def _encoder(codec: Codec, vocabulary: Vocabulary) -> Callable[[str], Sequence[int]]:
    """Return what turns a form with a space before it into tokens, whatever the tokenizer adds."""
    if not vocabulary.text(codec.plain("a")).startswith(" "):
        return codec.plain
    return lambda form: codec.plain(form.lstrip(" "))


def connection_of(settings: EngineSettings) -> Connection:
    """Return the connection that the settings describe; it looks for the server from now on."""
    token = settings.backend_token
    assert settings.backend_url is not None
    return Connection(
        settings.backend_url,
        token=token.get_secret_value() if token else None,
        model=settings.backend_model,
        dialect=settings.backend_dialect,
        parallel=settings.backend_parallel,
    )


def jobs_at_once(connection: Connection, drafts: int) -> int:
    """Return how many jobs of so many drafts keep the server busy; more would only slow each other down."""
    return max(MIN_JOBS, JOBS_PER_PLACE * connection.parallel // drafts)


def connect(card: ModelCard, connection: Connection) -> LoadedModel:
    """Return a model whose texts come from a server; needs its tokenizer only, and no network.

    Raises ModelRefused when the directory lacks the tokenizer, or for an encoder-decoder model.
    """
    if card.encodes:
        raise ModelRefused(f"The model {card.name} is no causal one: completion servers don't write with it.")
    try:
        codec = Codec.from_directory(card.directory)
        form = TextForm.from_directory(card.directory)
        vocabulary = Vocabulary.from_directory(card.directory)
    except (OSError, ValueError, KeyError) as error:
        raise ModelRefused(f"The tokenizer of {card.name} can't be read: {error}") from error
    family = family_for(card.family)
    end = family.end_token(codec)
    ends = frozenset(_configured_ends(card) if end is None else {end})
    backend = OpenAIBackend(connection, form, codec, vocabulary, card.context or DEFAULT_CONTEXT)
    return LoadedModel(card, family, codec, vocabulary, ends, steps=None, whole=backend)


def _configured_ends(card: ModelCard) -> set[int]:
    for name in ("generation_config.json", "config.json"):
        try:
            found = json.loads((card.directory / name).read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError):
            continue
        if found is not None:
            return {found} if isinstance(found, int) else set(found)
    return set()
