"""What an HTTP answer of an engine, or the lack of one, means to its client.

Knows statuses and the ways of losing a connection; knows nothing of routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from pydantic import ValidationError

from engine.errors import EngineError, EngineUnavailable, InternalError
from engine.schema import ErrorCode


@contextmanager
def losses_named() -> Iterator[None]:
    """Turn the many ways of losing a connection into EngineUnavailable."""
    try:
        yield
    except (httpx.TransportError, httpx.StreamError) as error:
        refused = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        text = "The engine is not running." if refused else "The connection to the engine was lost."
        raise EngineUnavailable(text) from error


@contextmanager
def understood() -> Iterator[None]:
    """Turn an answer in a form of its own into InternalError."""
    try:
        yield
    except ValidationError as error:
        raise InternalError("The engine's answer was not understood: is it of another version?") from error


def accepted(response: httpx.Response) -> httpx.Response:
    """Return a success. Raises the EngineError that any other answer stands for."""
    if response.is_success:
        return response
    raise refusal(response)


def refusal(response: httpx.Response) -> EngineError:
    """Return the error that a response which is no success stands for."""
    try:
        body: Any = response.json()
        code, message = ErrorCode(body["code"]), str(body["message"])
        retry_after = body.get("retry_after")
    except (ValueError, KeyError, TypeError):
        return EngineUnavailable(f"Something else than an engine answered (status {response.status_code}).")
    if retry_after is None:
        header = response.headers.get("retry-after", "")
        retry_after = float(header) if header.isdecimal() else None
    return EngineError.of(code, message, retry_after)
