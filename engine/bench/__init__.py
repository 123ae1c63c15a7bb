"""Figures of the engine, each a command of `wordtale bench`. Knows the engine; nothing of front ends."""
