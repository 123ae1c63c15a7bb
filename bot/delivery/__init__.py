"""Delivery: what stands between a reply and a platform's limits."""
