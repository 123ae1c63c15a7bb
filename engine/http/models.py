"""The routes of models: what there is, putting one to use, going back.

Knows statuses; knows nothing of how a model is swapped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI

from engine.errors import ModelUnknown
from engine.http import errors
from engine.schema import ActivateRequest, Activation, ModelInfo

if TYPE_CHECKING:
    from engine.service import StoryService


class ModelObject(ModelInfo):
    """A model with the fields that OpenAI's clients look for besides ours."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "wordtale"


def add_models(app: FastAPI, service: StoryService, locked: list[Any]) -> None:
    """Add the routes; `locked` are the dependencies that say that a token is asked for."""

    @app.get("/v1/models", responses=errors.documented(401, 503), dependencies=locked)
    async def models() -> list[ModelInfo]:
        """List the models that a request may name."""
        return await asyncio.to_thread(service.models)

    @app.get("/v1/models/{name}", responses=errors.documented(401, 404, 422, 503), dependencies=locked)
    async def model(name: str) -> ModelObject:
        """Describe one model, for OpenAI's clients too."""
        found = [info for info in await asyncio.to_thread(service.models) if info.name == name]
        if not found:
            raise ModelUnknown("There is no such model.")
        return ModelObject(**found[0].model_dump(), id=name)

    @app.post(
        "/v1/models/{name}/activate",
        responses=errors.documented(401, 403, 404, 413, 422, 503, 504),
        dependencies=locked,
    )
    async def activate(name: str, wanted: ActivateRequest | None = None) -> Activation:
        """Answer with this model from now on, also after a restart; the active one stays if it is no good."""
        return await service.activate(name, wanted.version if wanted else None)

    @app.post(
        "/v1/models/rollback",
        responses=errors.documented(401, 403, 404, 413, 422, 503, 504),
        dependencies=locked,
    )
    async def rollback() -> Activation:
        """Answer with the model that was active before, again."""
        return await service.rollback()
