"""Errors as HTTP: one body shape, one status per code, short messages that say what is allowed.

Knows the wire's fields; knows nothing of stories. A message never repeats what the caller sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine.errors import EngineError, InternalError, InvalidRequest
from engine.schema import ErrorCode, ErrorEvent, Wire, decoding_ranges

STATUS: dict[ErrorCode, int] = {
    ErrorCode.INVALID_REQUEST: 422,
    ErrorCode.UNSUPPORTED_SETTING: 422,
    ErrorCode.UNSUITABLE_WORDS: 400,
    ErrorCode.UNWRITABLE_WORDS: 400,
    ErrorCode.UNSUITABLE_STORY: 400,
    ErrorCode.MODEL_UNKNOWN: 404,
    ErrorCode.CANCELLED: 410,
    ErrorCode.OVERLOADED: 429,
    ErrorCode.NOT_READY: 503,
    ErrorCode.SHUTTING_DOWN: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.DEADLINE: 504,
    ErrorCode.UNAUTHORISED: 401,
    ErrorCode.INTERNAL: 500,
}
OPENAI_PATHS = frozenset({"/v1/completions"})
"""Where errors have OpenAI's shape, and a request that is not valid is 400."""
MAX_COMPLAINTS = 3
MAX_FIELD_CHARS = 60


class ErrorBody(Wire):
    """Why there is no answer; `retry_after` in seconds where trying again makes sense."""

    code: ErrorCode
    message: str
    retry_after: float | None = None


class OpenAIFault(Wire):
    """What is wrong, in the words of OpenAI's API; `code` is ours."""

    message: str
    type: str
    param: str | None = None
    code: ErrorCode


class OpenAIError(Wire):
    """An error in the shape that OpenAI's clients read."""

    error: OpenAIFault


def openai_body(error: ErrorEvent | EngineError) -> OpenAIError:
    """Return the error in OpenAI's shape."""
    kind = "server_error" if STATUS[error.code] >= 500 else "invalid_request_error"
    return OpenAIError(error=OpenAIFault(message=error.message, type=kind, code=error.code))


def error_response(
    error: ErrorEvent | EngineError,
    *,
    path: str = "",
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the error as a response to a request of `path`; `status` only where it is not the code's."""
    body: Wire = ErrorBody(code=error.code, message=error.message, retry_after=error.retry_after)
    status = status or STATUS[error.code]
    if path in OPENAI_PATHS:
        body, status = openai_body(error), 400 if status == 422 else status
    extra = dict(headers or {})
    if error.retry_after is not None:
        extra["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.code is ErrorCode.UNAUTHORISED:
        extra["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(mode="json"), status, extra)


def documented(*statuses: int, model: type[Wire] = ErrorBody) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of these error statuses."""
    retry = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return {
        status: {"model": model} | ({"headers": retry} if status in (429, 503) else {}) for status in statuses
    }


def install(app: FastAPI) -> None:
    """Let every error of `app` leave in the one shape."""

    async def on_engine_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, EngineError)
        return error_response(error, path=request.url.path)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        event = ErrorEvent(code=ErrorCode.INVALID_REQUEST, message=complaint(error.errors()))
        return error_response(event, path=request.url.path)

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code == 400:  # FastAPI's word for bytes that no JSON parser takes
            return error_response(InvalidRequest("body: must be JSON"), path=path)
        event = ErrorEvent(code=ErrorCode.INVALID_REQUEST, message=str(error.detail))
        return error_response(event, path=path, status=error.status_code, headers=error.headers)

    async def on_fault(request: Request, __: Exception) -> JSONResponse:
        return error_response(InternalError("Something went wrong in the engine."), path=request.url.path)

    app.add_exception_handler(EngineError, on_engine_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_fault)


def complaint(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with a request as `field: what is allowed`, the first few of it."""
    shown = [_one_complaint(error) for error in errors[:MAX_COMPLAINTS]]
    if len(errors) > MAX_COMPLAINTS:
        shown.append(f"and {len(errors) - MAX_COMPLAINTS} more")
    return "; ".join(shown)


def _one_complaint(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return "body: must be JSON"
    path = [str(part) for part in error["loc"] if part != "body"]
    field = ".".join(path) or "body"
    field = "".join(char for char in field if char.isprintable())[:MAX_FIELD_CHARS]
    return f"{field}: {_allowed(path, error)}"


def _allowed(path: Sequence[str], error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if len(path) == 2 and path[0] == "decoding" and path[1] in (ranges := decoding_ranges()):
        low, high = ranges[path[1]]
        return f"must be between {low:g} and {high:g}" + (", above 0" if "gt" in context else "")
    if kind == "value_error":
        return str(context.get("error", "is not valid"))
    wording = {
        "missing": "is required",
        "extra_forbidden": "is not a known field",
        "string_too_long": "at most {max_length} characters",
        "string_too_short": "at least {min_length} characters",
        "too_long": "at most {max_length} entries",
        "enum": "must be one of {expected}",
        "literal_error": "must be one of {expected}",
        "less_than_equal": "must be at most {le}",
        "greater_than_equal": "must be at least {ge}",
        "string_pattern_mismatch": "may hold letters, digits and _ . : - only",
        "model_attributes_type": "must be a JSON object",
    }.get(kind)
    if wording is not None:
        return wording.format(**context)
    return str(error["msg"]).removeprefix("Input ")
