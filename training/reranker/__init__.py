"""The learned scorer of stories: its examples, training, readers' scores. Knows nothing of the front ends."""
