# One command for each check. CONTRIBUTING.md says when to use which.
# Another environment: make test BIN=/path/to/venv/bin

BIN = .venv/bin

.PHONY: install test e2e slow style format types derived record docs ci

install:
	python3 -m venv .venv
	$(BIN)/pip install -e '.[dev]'

test:
	$(BIN)/pytest -q -n 2 --dist worksteal

e2e:
	$(BIN)/pytest -q -n 2 --dist worksteal -m "e2e and not slow"

slow:
	$(BIN)/pytest -q -m slow

style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy reads sources by path and does not see an editable install: the link gives the repository its package name.
types: .cache/tagcorpus
	$(BIN)/mypy --config-file setup.cfg -p tagcorpus

.cache/tagcorpus:
	mkdir -p .cache
	ln -sfn .. .cache/tagcorpus

derived:
	$(BIN)/python tests/derived.py

record:
	$(BIN)/python tests/record.py

# Builds the pages into site/. Long sentences are listed and do not fail the target; a misspelt word and a broken link do.
docs:
	$(BIN)/codespell
	-$(BIN)/python tests/prose.py
	$(BIN)/mkdocs build --strict

ci:
	bash .ci/run
