"""`python -m tests.engine.serve_scripted`: the engine's process around a scripted service.

Settings come from WORDTALE_ENGINE_…, the script's own from SCRIPTED_….
"""

import os
import sys

from engine import logging, serving
from engine.config import EngineSettings
from tests.engine.scripted import ScriptedService


def main() -> None:
    """Serve until a signal."""
    settings = EngineSettings(_env_file=None)
    logging.configure("info", json=True)
    serving.DRAIN_SECONDS = float(os.environ.get("SCRIPTED_DRAIN_SECONDS", serving.DRAIN_SECONDS))

    def make_service() -> ScriptedService:
        return ScriptedService(
            rows=settings.max_rows,
            waiting=settings.max_waiting,
            delay=float(os.environ.get("SCRIPTED_DELAY", "0.01")),
            load_seconds=float(os.environ.get("SCRIPTED_LOAD_SECONDS", "0")),
        )

    try:
        serving.serve(settings, make_service, stop_with_parent="--stop-with-parent" in sys.argv)
    except serving.ServeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
