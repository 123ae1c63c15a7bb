"""`python -m engine serve`: the engine's commands without the `wordtale` front door."""

from engine.cli import app

if __name__ == "__main__":
    app(prog_name="engine")
