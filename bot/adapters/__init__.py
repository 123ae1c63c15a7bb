"""Adapters: one platform each."""
