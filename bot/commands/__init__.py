"""Chat commands: async functions from context and arguments to a Reply."""
