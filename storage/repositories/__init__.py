"""One repository per subject; each call is one transaction. They know nothing of engines or files."""
