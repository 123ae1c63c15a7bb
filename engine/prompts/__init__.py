"""Prompt formats, one module per model family; training and engine use the same code."""

from engine.prompts.base import ParsedStory, PromptFamily
from engine.prompts.codec import Codec
from engine.prompts.plain import Plain
from engine.prompts.storyteller import Storyteller

FAMILIES: dict[str, PromptFamily] = {family.name: family for family in (Storyteller(), Plain())}


def family_for(name: str) -> PromptFamily:
    """Return a prompt family by its name. Raises KeyError for an unknown one."""
    return FAMILIES[name]


__all__ = ["FAMILIES", "Codec", "ParsedStory", "PromptFamily", "family_for"]
