"""Who a completion server is: its kind, and the name by which it calls the model.

Knows the answers of `/v1/models`, `/openapi.json` and `/health`; knows nothing of texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from engine.backends.openai_wire import DIALECTS, LLAMACPP, OPENAI, TRANSFORMERS, VLLM, Dialect

# A path that no other server has.
TRANSFORMERS_PATH = "/load_model"
OWNERS = {"vllm": VLLM, "llamacpp": LLAMACPP}
LOOK_TIMEOUT = httpx.Timeout(3.0)


class Trouble(Exception):
    """The server can't be used now; the text is a sentence that says why and what helps."""


@dataclass(frozen=True)
class Identity:
    """A server's kind and its name of the model; None lets the server take the only one it has."""

    dialect: Dialect
    model: str | None


async def identify(http: httpx.AsyncClient, *, dialect: str, model: str | None) -> Identity:
    """Ask a server who it is. `dialect` 'auto' finds out the kind. Raises Trouble."""
    paths = await _paths(http) if dialect == "auto" else ()
    if dialect == TRANSFORMERS.name or TRANSFORMERS_PATH in paths:
        await look(http)
        return Identity(TRANSFORMERS, model)
    models = await _models(http)
    kind = DIALECTS.get(dialect) or next(
        (OWNERS[owner] for each in models if (owner := str(each.get("owned_by"))) in OWNERS), OPENAI
    )
    return Identity(kind, _name(http, [str(each["id"]) for each in models if "id" in each], model))


async def look(http: httpx.AsyncClient) -> None:
    """Ask whether the server is well. Raises Trouble when it isn't."""
    response = await _get(http, "/health")
    if response.status_code >= 500:
        raise Trouble(f"The completion server at {http.base_url} is not ready: it says {_status(response)}.")


def refused_token(url: object) -> Trouble:
    """Return what to say of a server that doesn't take our token."""
    return Trouble(
        f"The completion server at {url} refuses us: "
        "set WORDTALE_ENGINE_BACKEND_TOKEN to the key that it asks for."
    )


async def _paths(http: httpx.AsyncClient) -> Sequence[str]:
    response = await _get(http, "/openapi.json")
    try:
        return tuple(response.json()["paths"]) if response.status_code == 200 else ()
    except (ValueError, KeyError, TypeError):
        return ()


async def _models(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    response = await _get(http, "/v1/models")
    if response.status_code in (401, 403):
        raise refused_token(http.base_url)
    if response.status_code >= 500:
        raise Trouble(f"The completion server at {http.base_url} is not ready: it says {_status(response)}.")
    try:
        found = response.json()["data"] if response.status_code == 200 else []
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list):
        raise Trouble(f"What answers at {http.base_url} is no OpenAI-compatible server.")
    return [each for each in found if isinstance(each, dict)]


def _name(http: httpx.AsyncClient, names: Sequence[str], wanted: str | None) -> str | None:
    """Return the server's name of the model: the one asked for, else its only one."""
    if not names or wanted in names:
        return wanted
    listed = ", ".join(names[:8])
    if wanted is not None:
        raise Trouble(f"The completion server at {http.base_url} has no model {wanted}, only: {listed}.")
    if len(names) > 1:
        raise Trouble(
            f"The completion server at {http.base_url} has several models: "
            f"choose one with --remote-model ({listed})."
        )
    return names[0]


async def _get(http: httpx.AsyncClient, path: str) -> httpx.Response:
    try:
        return await http.get(path, timeout=LOOK_TIMEOUT)
    except httpx.TimeoutException as error:
        raise Trouble(f"The completion server at {http.base_url} does not answer.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Trouble(f"The completion server at {http.base_url} can't be reached.") from error


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()
