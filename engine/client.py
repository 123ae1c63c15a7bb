"""What a front end may import of the engine, besides `engine.schema`. Loads no model library and no server.

Knows nothing itself: the parts are in `engine.remote`, `engine.local`, `engine.address` and `engine.errors`.
"""

from engine.address import EngineAddress
from engine.errors import EngineError, EngineUnavailable
from engine.local import LocalEngine
from engine.remote import EngineClient, EngineState

__all__ = ["EngineAddress", "EngineClient", "EngineError", "EngineState", "EngineUnavailable", "LocalEngine"]
