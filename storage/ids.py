"""Ids that sort by the time they were made. Knows nothing of what they name."""

from __future__ import annotations

import secrets
import threading
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_LENGTH = 26

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return 26 characters [0-9a-z]: 48 bits of milliseconds, 80 random bits; greater than the one before."""
    global _last
    with _lock:
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        # The same millisecond or a clock set back: count on from the last id.
        _last = max(fresh, _last + 1)
        number = _last
    digits = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, 32)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits))
