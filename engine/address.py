"""Where the engine of this machine's settings is, as its callers see it.

Knows addresses only; starts nothing and asks nobody.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class EngineAddress:
    """`url` and `token` for callers; `timeout` is how many seconds a story may take."""

    url: str
    token: str | None = None
    timeout: float = 60.0
    host: str = "127.0.0.1"
    """What an engine started for it listens on."""

    @property
    def port(self) -> int:
        """The port of the address."""
        return urlsplit(self.url).port or 80

    @property
    def is_here(self) -> bool:
        """Whether the address is on this machine, so that an engine can be started for it."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be, or to find, this engine."""
        env = {"WORDTALE_ENGINE_HOST": self.host, "WORDTALE_ENGINE_PORT": str(self.port)}
        return env | ({"WORDTALE_ENGINE_TOKEN": self.token} if self.token else {})

    @staticmethod
    def configured() -> EngineAddress:
        """Return the address that the settings name; port 0 takes one that is free now."""
        from engine.config import EngineSettings

        settings = EngineSettings()
        host = settings.host
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = "::1" if ":" in host else "127.0.0.1"
        port = settings.port or _free_port(host)
        return EngineAddress(
            url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}",
            token=settings.token.get_secret_value() if settings.token else None,
            timeout=settings.deadline_seconds,
            host=settings.host,
        )


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host` (a name or an address)."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as probe:
        port: int = probe.getsockname()[1]
    return port
