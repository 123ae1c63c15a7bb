"""Data preparation, training and evaluation. Knows nothing of the front ends."""
