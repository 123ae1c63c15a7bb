"""The engines that `wordtale bench engine` compares, each in a process of its own, and their figures."""
