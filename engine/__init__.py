"""The process that owns the models. Knows nothing of people, chats or storage."""
