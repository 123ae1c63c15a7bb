"""How soon a person may use a command again. Knows no clock of its own and no platform."""

from __future__ import annotations

from collections.abc import Callable

FORGET_ABOVE = 10_000


class Cooldowns:
    """Remembers each person's last use of each command, in seconds of the given clock."""

    def __init__(self, clock: Callable[[], float], scale: float = 1.0) -> None:
        """`scale` multiplies every cooldown; 0 switches them off (a terminal has one person only)."""
        self._clock = clock
        self._scale = scale
        self._free_at: dict[tuple[str, str], float] = {}

    def claim(self, person_id: str, command: str, seconds: float) -> float:
        """Return 0.0 and start the cooldown, or the seconds still to wait and change nothing."""
        now = self._clock()
        wait = self._free_at.get((person_id, command), now) - now
        if wait > 0:
            return wait
        if seconds * self._scale > 0:
            self._forget(now)
            self._free_at[person_id, command] = now + seconds * self._scale
        return 0.0

    def _forget(self, now: float) -> None:
        if len(self._free_at) >= FORGET_ABOVE:
            self._free_at = {key: free for key, free in self._free_at.items() if free > now}
