# make demo         trains, evaluates and reports on the fetal-head phantom: core packages only
# make test         the whole test suite: all extras
# make check        ruff, format, mypy
# make constraints  compiles constraints.txt from pyproject.toml
# Each creates .venv when it is missing. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# All but timm: it needs torchvision, which must be of torch's own build, else Lightning cannot be imported either.
EXTRAS := elastix,tensorboard,wandb,mlflow,sweep,export,video,dev
# The torch that constraints.txt is compiled against; everything else takes the newest version that pyproject.toml allows.
TORCH := 2.13.0
# Processes that share the test suite.
JOBS ?= 2
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check constraints
.DELETE_ON_ERROR:

demo: $(VENV)/core.stamp
	rm -rf runs/demo
	$(PY) train.py experiment=demo
	$(PY) evaluate.py run=runs/demo

# ITK, loaded by the elastix engine, can crash Python's exit when a process has loaded much else: it gets its own.
test: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --ignore=tests/registration
	OMP_NUM_THREADS=1 $(PY) -m pytest tests/registration

check: $(VENV)/dev.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "anatomark needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make an install happen again only when the dependencies have changed. An install with the extras holds
# the core, so it serves the demo too.
$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(PY)
	$(INSTALL) -e ".[$(EXTRAS)]"
	@touch $(VENV)/core.stamp $@

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(PY)
	$(INSTALL) -e .
	@touch $@

# A wheel's local version (2.13.0+cpu) is cut off: other machines have other builds of the same release.
constraints:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	&& $(PYTHON) -m venv "$$folder/venv" \
	&& "$$folder/venv/bin/python" -m pip install --disable-pip-version-check torch==$(TORCH) ".[$(EXTRAS)]" \
	&& "$$folder/venv/bin/python" -m pip freeze --all --exclude pip --exclude anatomark > "$$folder/frozen" \
	&& { echo "# Exact versions of every dependency, for: pip install -c constraints.txt -e \".[$(EXTRAS)]\""; \
	     echo "# Compiled from pyproject.toml by \`make constraints\`, which installs all extras into a fresh environment"; \
	     echo "# with torch held at $(TORCH) and freezes it without local versions. Do not edit by hand."; \
	     sed -E 's/\+[A-Za-z0-9.]+$$//' "$$folder/frozen" | LC_ALL=C sort -f; } > constraints.txt.new \
	&& mv constraints.txt.new constraints.txt
