"""Sources, cleaning, labels and batches of the training data."""
