"""Making a model directory out of what somebody has: checks, copy or link, `wordtale.json`.

Refuses weights that can run code, code of its own, and architectures that transformers doesn't know. Knows
nothing of the other models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from engine.backends.torch_later import INSTALL, has_torch
from engine.errors import ModelRefused
from engine.prompts import FAMILIES
from engine.reranking import FOLDER as RERANKER

CARD = "wordtale.json"
CODE_ENDINGS = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".py")
COPIED_ENDINGS = (".safetensors", ".json", ".txt", ".model", ".md")
VERSION_CHARS = 12


def prepare(source: Path, target: Path, *, family: str | None, link: bool) -> None:
    """Put a model from `source` at `target`, whole or not at all. Raises ModelRefused with a sentence.

    With `link`, `target` becomes a symbolic link and `source` gets what is missing (`wordtale.json`).
    """
    config = check(source)
    folder = source.resolve() if link else target.with_name(f"{target.name}.part")
    if not link:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _copy_files(source, folder)
        if (source / RERANKER).is_dir():
            (folder / RERANKER).mkdir()
            _copy_files(source / RERANKER, folder / RERANKER)
    try:
        _complete(folder, config, family)
    except (ModelRefused, OSError):
        if not link:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(folder, target_is_directory=True)
    else:
        folder.replace(target)


def _copy_files(source: Path, folder: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name.endswith(COPIED_ENDINGS):
            shutil.copyfile(path, folder / path.name)


def check(source: Path) -> dict[str, Any]:
    """Return the configuration of a directory that can become a model. Raises ModelRefused."""
    if not source.is_dir():
        raise ModelRefused(f"{source} is no directory with a model in it.")
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{source} has no readable config.json, so it is no model directory.") from error
    if not isinstance(config, dict):
        raise ModelRefused(f"config.json in {source} is no object.")
    if not any(source.glob("*.safetensors")):
        pickles = sorted(path.name for path in source.iterdir() if path.suffix in CODE_ENDINGS)
        what = f"only {pickles[0]}, which can run code when it is read" if pickles else "no weights"
        raise ModelRefused(
            f"{source} has {what}: please save the model as safetensors (save_pretrained does) and add that."
        )
    if "auto_map" in config:
        raise ModelRefused("That model needs program code of its own, which is never run here.")
    _check_architecture(config)
    return config


def _check_architecture(config: dict[str, Any]) -> None:
    found = (config.get("architectures") or ["none"])[0]
    if not has_torch():
        from engine.backends.onnx_layouts import LAYOUTS

        if found not in LAYOUTS:
            raise ModelRefused(f"The architecture {found} needs PyTorch, which is not installed: {INSTALL}.")
        return
    from transformers.models.auto import modeling_auto

    known = {
        name
        for mapping in (
            modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        )
        for names in mapping.values()
        for name in ((names,) if isinstance(names, str) else names)
    }
    if found not in known:
        raise ModelRefused(
            f"The architecture {found} writes no text that I know of: causal models (GPT-2, Llama, …) and "
            "encoder-decoders (T5, BART, …) of transformers work."
        )


def _complete(folder: Path, config: dict[str, Any], family: str | None) -> None:
    if not (folder / "tokenizer.json").is_file():
        _convert_tokenizer(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        card = {}
    except ValueError as error:
        raise ModelRefused(f"{CARD} can't be read: {error}") from error
    card["family"] = family or card.get("family") or "plain"
    if card["family"] not in FAMILIES:
        raise ModelRefused(f"There is no model family {card['family']}, only: {', '.join(sorted(FAMILIES))}.")
    weights = sorted(folder.glob("*.safetensors"))
    card.setdefault("version", _fingerprint(weights))
    card.setdefault("description", str(config.get("_name_or_path") or config.get("model_type") or ""))
    card.setdefault("parameters", sum(_parameters(path) for path in weights))
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")


def _convert_tokenizer(folder: Path) -> None:
    """Write tokenizer.json from the older files (vocab.json + merges.txt, spiece.model)."""
    if not has_torch():
        raise ModelRefused(f"tokenizer.json is missing; making it from the older files needs {INSTALL}.")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except (OSError, ValueError, AttributeError, ImportError, KeyError) as error:
        raise ModelRefused(
            "The model's tokenizer can't be read: tokenizer.json is missing, and the older files don't help."
        ) from error


def _fingerprint(weights: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in weights:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:VERSION_CHARS]


def _parameters(path: Path) -> int:
    """Count parameters from a safetensors header (8 bytes of length, then JSON)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(size))
        except ValueError as error:
            raise ModelRefused(f"{path.name} is no safetensors file.") from error
    count = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            product = 1
            for length in tensor["shape"]:
                product *= length
            count += product
    return count
