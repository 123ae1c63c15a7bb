"""Work for a client stops when the client leaves, streaming or not.

FastAPI alone runs a non-streaming handler to its end. Knows connections; knows nothing of stories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

_Result = TypeVar("_Result")


class ClientLeft(Exception):
    """The client closed the connection before its answer."""


async def unless_left(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what `work` returns; cancel it, wait for its clean-up and raise ClientLeft on a disconnect.

    The request's body must have been read: whatever `receive` says next is then the disconnect.
    """
    answer = asyncio.create_task(work)
    left = asyncio.create_task(_until_left(receive))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientLeft
    finally:
        for task in (answer, left):
            task.cancel()
        await asyncio.wait({answer, left})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
