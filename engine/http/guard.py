"""What every request passes first: the bearer token, the origin and the size limit.

Pure ASGI, so that a client's leaving is still seen behind it. Knows nothing of routes but the open ones.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import Unauthorised
from engine.http.errors import error_response
from engine.schema import ErrorCode, ErrorEvent

BODY_LIMIT_BYTES = 2_000_000
DISCARD_LIMIT_BYTES = 16_000_000
"""A body too large is read up to here and thrown away, or its sender would miss the answer."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class Guard:
    """Refuses requests without the token (where one is set), of other web sites, and bodies over 2 MB."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._credentials = f"Bearer {token}".encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not self._permitted(scope["path"], headers.get(b"authorization", b"")):
            refusal = error_response(
                Unauthorised("A token is needed: Authorization: Bearer …"), path=scope["path"]
            )
            await refusal(scope, receive, send)
            return
        if scope["method"] != "GET" and _foreign(headers):
            refusal = error_response(
                Unauthorised("Pages of other sites may not ask for that."), path=scope["path"], status=403
            )
            await refusal(scope, receive, send)
            return
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        body = await _read(receive, int(headers.get(b"content-length", b"0")))
        if body is None:
            too_large = ErrorEvent(
                code=ErrorCode.INVALID_REQUEST, message=f"body: at most {BODY_LIMIT_BYTES} bytes"
            )
            await error_response(too_large, path=scope["path"], status=413)(scope, receive, send)
            return
        replay = _replayed(body, receive)
        del body  # or a waiting request would hold it twice
        await self._app(scope, replay, send)

    def _permitted(self, path: str, shown: bytes) -> bool:
        if self._credentials is None or path in OPEN_PATHS:
            return True
        return hmac.compare_digest(shown, self._credentials)


def _foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Say whether a browser asks on behalf of another site, which could swap models on a loopback port."""
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host", b"")


async def _read(receive: Receive, announced: int) -> bytes | None:
    """Return the body, or None when it is too large. A sender who leaves midway gives what came."""
    if announced > DISCARD_LIMIT_BYTES:
        return None
    kept, size = bytearray(), 0
    while size <= DISCARD_LIMIT_BYTES:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT_BYTES:
            kept += chunk
        if not message.get("more_body", False):
            break
    return bytes(kept) if size <= BODY_LIMIT_BYTES else None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then whatever comes from the connection."""
    kept: list[bytes] = [body]

    async def replay() -> Message:
        if kept:
            return {"type": "http.request", "body": kept.pop(), "more_body": False}
        return await receive()

    return replay
