"""CTranslate2 on the same weights, converted into the run's scratch folder: all stories in one static batch.

A row that has its tokens leaves the batch. Knows nothing of requests.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bench.engines.base import About, NotInstalled, Setup, Task, Written

FOLDER = "ctranslate2"
MISSING = "ctranslate2 is not installed: pip install 'wordtale[bench]'"
NOBODY = "<unk>"
# It knows no min_p; without a limit it sorts the whole vocabulary, at half the speed.
TOP_K = 50
# Its name of the precision, bytes of a weight and of a number in the cache.
COMPUTE = {
    ("int8", "cpu"): ("int8", 1.0, 4.0),
    ("fp32", "cpu"): ("float32", 4.0, 4.0),
    ("int8", "cuda"): ("int8_bfloat16", 1.0, 2.0),
    ("fp32", "cuda"): ("bfloat16", 2.0, 2.0),
}


def convert(directory: Path, scratch: Path) -> None:
    """Write the model in CTranslate2's format (seconds). Raises NotInstalled without it or transformers."""
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError as error:
        raise NotInstalled(MISSING) from error
    try:
        from transformers.utils import logging
    except ImportError as error:
        raise NotInstalled("CTranslate2 converts with transformers: pip install 'wordtale[gpu]'") from error
    logging.disable_progress_bar()
    TransformersConverter(str(directory)).convert(str(scratch / FOLDER), quantization="float32")
    _name_tokens(scratch / FOLDER / "config.json")


def _name_tokens(path: Path) -> None:
    """Put names where a bare tokenizer gave none: CTranslate2 wants them, and lengths end our stories."""
    config = json.loads(path.read_text(encoding="utf-8"))
    named = {name: token or NOBODY for name, token in config.items() if name.endswith("_token")}
    path.write_text(json.dumps(config | named), encoding="utf-8")


class _CTranslate2:
    precision = ""

    def __init__(self, setup: Setup) -> None:
        # It imports torch where that is installed, which would count as its memory.
        sys.modules["torch"] = None  # type: ignore[assignment]
        try:
            import ctranslate2
        except ImportError as error:
            raise NotInstalled(MISSING) from error
        from tokenizers import Tokenizer

        kind, weight_bytes, cache_bytes = COMPUTE[self.precision, setup.device]
        self._generator: Any = ctranslate2.Generator(
            str(setup.scratch / FOLDER),
            device=setup.device,
            compute_type=kind,
            inter_threads=1,
            intra_threads=setup.threads,
        )
        self._tokenizer = Tokenizer.from_file(str(setup.directory / "tokenizer.json"))
        self._settings = _settings(setup)
        self.about = About(weight_bytes, cache_bytes)

    def write(self, tasks: Sequence[Task], seconds: float) -> list[Written]:
        """Write all stories in one static batch."""
        began = time.perf_counter()
        times: list[list[float]] = [[] for _ in tasks]

        def over(step: Any) -> bool:
            row = int(step.batch_id)
            times[row].append(time.perf_counter() - began)
            return len(times[row]) >= tasks[row].tokens

        longest = max(task.tokens for task in tasks)
        self._generator.generate_batch(
            [[self._tokenizer.id_to_token(token) for token in task.prompt] for task in tasks],
            max_batch_size=0,
            max_length=longest,
            min_length=longest,
            include_prompt_in_result=False,
            callback=over,
            **self._settings,
        )
        for task, mine in zip(tasks, times, strict=True):
            assert len(mine) == task.tokens, "CTranslate2 wrote another number of tokens"
        return [Written(len(mine), mine[0], mine[-1]) for mine in times]

    def close(self) -> None:
        """End its threads."""
        self._generator.unload_model()
        del self._generator


class Int8(_CTranslate2):
    """8-bit weights and activations."""

    precision = "int8"


class Float32(_CTranslate2):
    """32-bit weights; bf16 on a GPU."""

    precision = "fp32"


def _settings(setup: Setup) -> dict[str, Any]:
    asked = setup.decoding
    if asked.temperature == 0:
        return {"sampling_topk": 1}
    return {
        "sampling_temperature": asked.temperature or 1.0,
        "sampling_topk": asked.top_k or TOP_K,
        "sampling_topp": asked.top_p or 1.0,
        "repetition_penalty": asked.repetition_penalty or 1.0,
        "no_repeat_ngram_size": asked.no_repeat_ngram_size or 0,
    }
