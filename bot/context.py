"""What a command is given besides its arguments: who asks, where, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.localisation import Localiser
from bot.preferences import Preferences
from bot.replies import Report
from bot.storyteller import Storyteller

if TYPE_CHECKING:
    from bot.catalog import Catalog, Command
    from storage import Person, Store, Story


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and where, as a platform says it.

    `chat` names the chat across platforms ("telegram:-100123"); `turn` names this message or tap, the same
    again when the platform delivers it twice; `locale` is the platform's guess of the person's language.
    """

    platform: str
    external_id: str
    chat: str
    turn: str
    locale: str | None = None
    is_group: bool = False
    is_admin: bool = False

    @property
    def identity(self) -> str:
        """The person as settings name them: `telegram:12345`."""
        return f"{self.platform}:{self.external_id}"


@dataclass(frozen=True, slots=True)
class Context:
    """One call of a command. `report` shows progress while it runs."""

    caller: Caller
    person: Person
    preferences: Preferences
    say: Localiser
    store: Store
    storyteller: Storyteller
    catalog: Catalog
    report: Report
    owners: frozenset[str] = frozenset()

    def may(self, command: Command) -> bool:
        """Say whether this caller may use a command."""
        return command.allows(self.caller, self.owners)

    async def last_story(self) -> Story | None:
        """Return the person's last story in this chat; alone with the bot, their last one anywhere.

        A group never sees what was written elsewhere.
        """
        story = await self.store.stories.latest(self.person.id, self.caller.chat)
        if story is None and not self.caller.is_group:
            newest = await self.store.stories.recent(self.person.id, limit=1)
            story = newest[0] if newest else None
        return story

    async def own_story(self, story_id: str) -> Story | None:
        """Return the person's finished story of that id, None when it is not theirs or not there."""
        story = await self.store.stories.get(story_id)
        if story is None or story.person_id != self.person.id or story.state != "done":
            return None
        return story
