# Wordtale. `make chat` tells a story, `make test` passes the tests; each installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check install --constraint constraints.txt
CORPUS ?= ../shared/corpus
PACKAGES := bot engine training storage

.PHONY: help chat run test check format bench samples evaluate ablations train train-background lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Wordtale needs Python 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.chat: $(BIN)/pip pyproject.toml constraints.txt
	@echo "Installing Wordtale into $(VENV) (a minute, once) …" >&2
	@$(PIP) --editable . </dev/null >&2
	@touch $@

# torch comes first and through pip alone, so that no resolver swaps the pinned build for a larger one.
$(VENV)/.test: $(VENV)/.chat
	@echo "Installing torch and the tools for tests and training (several minutes, once) …" >&2
	@$(PIP) torch </dev/null >&2
	@$(PIP) --editable '.[train,dev,bench,postgres]' </dev/null >&2
	@touch $@

chat: $(VENV)/.chat ## Chat with the storyteller in the terminal
	@$(BIN)/wordtale chat

run: $(VENV)/.chat ## Run the engine and every front end that has a token
	@$(BIN)/wordtale run

test: $(VENV)/.test ## Run the tests
	@$(BIN)/python -m pytest

check: $(VENV)/.test ## Lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.test ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.test ## Measure word coverage, the content filter and the engine against others
	@$(BIN)/wordtale bench coverage
	@$(BIN)/wordtale bench content
	@$(BIN)/wordtale bench engine

samples: $(VENV)/.chat ## Write docs/samples.md from its stated seeds
	@$(BIN)/wordtale bench samples --out docs/samples.md

evaluate: $(VENV)/.test ## Measure the shipped model with the scorecard (minutes; needs prepared data)
	@$(BIN)/wordtale train evaluate storyteller --sanity --out scorecard

ablations: $(VENV)/.test ## Compare the variants of training/recipes/ablations.toml (hours)
	@$(BIN)/wordtale train ablate ablations --from engine/models/storyteller --folder ablations

train: $(VENV)/.test ## Prepare data, then train the default model from the start (hours)
	@$(BIN)/wordtale train prepare --corpus $(CORPUS)
	@$(BIN)/wordtale train tokenizer
	@$(BIN)/wordtale train pretrain --tokens 40000000
	@$(BIN)/wordtale train finetune

train-background: $(VENV)/.test ## Train the default model further at lowest priority until stopped
	@OMP_WAIT_POLICY=passive nice -n 19 $(BIN)/wordtale train background --corpus $(CORPUS)

lock: $(VENV)/.test ## Write constraints.txt from what is installed
	@$(BIN)/pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' > constraints.txt

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
