"""Whether words asked for, or a story written, suit learners: lists and rules, no classifier.

`ContentFilter` is the public door. Knows English, Russian and Chinese lists (engine/data/blocklist_*.txt)
and the usual ways of writing a word so that a list misses it. Knows nothing of requests, models or people,
and cannot see meaning: a cruel story in polite words passes. docs/content-filter.md has the figures.
"""

from __future__ import annotations

from engine.content.filter import ContentFilter, Finding

__all__ = ["ContentFilter", "Finding"]
