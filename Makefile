# Every command sets up .venv from the lock (requirements.txt) first, if that has not been done.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/.ready

# A mirror beside the checkout is used if none is named.
ifndef RAGKIT_MIRROR
ifneq ($(wildcard ../shared/data/beir),)
export RAGKIT_MIRROR := $(abspath ../shared/data)
endif
endif

# Lessons run in notebooks/, so a mirror's path must not depend on where make was called.
ifneq ($(wildcard $(RAGKIT_MIRROR)/.),)
override RAGKIT_MIRROR := $(abspath $(RAGKIT_MIRROR))
export RAGKIT_MIRROR
endif

# A mirror that python -m ragkit prefetch filled replaces the package index and the model hub. Its wheels are checked
# twice: against the mirror's SHA256SUMS before pip reads any, and by pip against the lock.
ifneq ($(wildcard $(RAGKIT_MIRROR)/wheels/*.whl),)
PIP_FROM := --no-index --find-links "$(RAGKIT_MIRROR)/wheels"
VERIFY := $(PYTHON) ragkit/workshop/verify.py "$(RAGKIT_MIRROR)"
endif
ifneq ($(wildcard $(RAGKIT_MIRROR)/models/*),)
export FASTEMBED_CACHE_PATH ?= $(abspath $(RAGKIT_MIRROR)/models)
endif

.PHONY: help setup extras site peers demo test thorough check lab refresh exercises results bench sums lock lint mutants faults again dist lowest colab clean

help:
	@echo "make demo     the comparison: two tables and build/report.html"
	@echo "make test     unit tests, and notebooks against their stored outputs"
	@echo "make thorough what make test leaves out: two lessons, kills, installs, browsers, benches, others' programs"
	@echo "make check    while you work: lint, types, the quick unit tests"
	@echo "make lab      JupyterLab on my-lessons/, a copy of the lessons without outputs, made once"
	@echo "make site     lessons, docs and API as pages, in build/site: open index.html, no network needed"
	@echo "make extras   what a few tests skip without: ranx, Playwright, what makes the site"
	@echo "make peers    the engines that bench peers runs beside the kit's, as many as install here (3 GB: PyTorch)"
	@echo "make setup    .venv alone     make refresh  run the notebooks anew, in place"
	@echo "make exercises  notebooks/exercises from notebooks/solutions"
	@echo "make results  measure what the README shows (about 10 minutes)"
	@echo "make bench    measure what docs/scale.md shows (about 40 minutes)"
	@echo "make sums     data/SHA256SUMS, after a change in data/"
	@echo "make mutants  small changes of the code that no test notices (an hour at most a call; docs/mutants.md)"
	@echo "make again    lessons and quick tests as on another machine; what changes (hours; ONLY=noise,08_ for a part)"
	@echo "make faults   kills, damage, closed disks, broken servers; what came of each (40 minutes; docs/reliability.md)"
	@echo "make lock     new versions    make lint     style, types, imports"
	@echo "make colab    the lessons for Colab in build/colab, and the badges in docs/one-click.md"
	@echo "make dist     wheel and sdist in dist/       make lowest   the quick unit tests on the oldest versions allowed"

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(v < (3, 11) and 'Python 3.11 or later is needed, this is %d.%d; try: make PYTHON=python3.12 …' % v[:2])"
	$(VERIFY)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(PIP_FROM) -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PIP_FROM) -e .
	@$(BIN)/python -c "open('$(READY)', 'w').close()"

# What some tests read our files and pages with: ranx, and Playwright for a Chromium that is already there.
extras: $(VENV)/.extras

$(VENV)/.extras: requirements-extras.txt $(VENV)/.site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-extras.txt
	@$(BIN)/python -c "open('$(VENV)/.extras', 'w').close()"

# The lessons, the docs and the API as pages that need no network: build/site/index.html.
site: $(VENV)/.site
	$(BIN)/python docs/make_site.py

$(VENV)/.site: requirements-site.txt $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-site.txt
	@$(BIN)/python -c "open('$(VENV)/.site', 'w').close()"

# Other late-interaction engines, each by itself: one that has no wheel here and cannot be built keeps none from coming.
peers: $(READY)
	@for lock in requirements-peers/*.txt; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $$lock \
			|| echo "$$lock cannot be installed here; bench peers will say so"; \
	done

demo: $(READY)
	$(BIN)/python -m ragkit demo --html build/report.html

# A file stays with one worker: the cells of a notebook share a kernel. conftest.py says which files begin first.
# More workers than half the cores are of little use: models and Qdrant Edge take all cores themselves.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) -m "not thorough and not online and not server"

# What a change breaks seldom, and takes long to see; CI runs it after make test. Together they leave nothing out.
thorough: $(VENV)/.extras
	$(BIN)/python -m pytest $(PARALLEL) -m "thorough and not online and not server"

# Without notebooks, SciFact and what else takes seconds.
check: lint
	$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow and not online and not server" ragkit tests

# A copy to work in, which nothing overwrites: notebooks/ stays as committed, and gives no answer away.
LESSONS ?= my-lessons

lab: $(READY)
	@[ -e "$(LESSONS)" ] || $(BIN)/python -m ragkit lessons --to "$(LESSONS)"
	$(BIN)/jupyter lab "$(LESSONS)"

refresh: $(READY)
	$(BIN)/python -m tests.refresh

# The students' notebooks, from the solutions.
exercises: $(READY)
	$(BIN)/python -m tests.make_exercises

results: $(READY)
	$(BIN)/python docs/make_results.py

bench: $(READY)
	$(BIN)/python docs/make_scale.py

# A cache a platform: mypy reads nothing of another one's, and writes over it.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin

# After a change in data/: what the kit checks it by.
sums: $(READY)
	$(BIN)/python docs/make_sums.py

# What was tried is kept in mutants/, and the next call goes on there; ONLY="ragkit.evaluation.measures*" tries a part.
mutants: $(VENV)/.extras
	RAGKIT_DATA="$(CURDIR)/data" timeout 3600 $(BIN)/mutmut run $(ONLY) || [ $$? = 124 ]
	$(BIN)/mutmut results

# Numbers moved as processors move them, 1 and 8 cores, another hash seed, a busy machine. What passed is kept in build/.
comma := ,
again: $(READY)
	$(BIN)/python -m tests.again $(subst $(comma), ,$(ONLY))

# AREAS=kills,servers runs some; the table keeps the others' rows.
faults: $(READY)
	$(BIN)/python -m tests.faults --render $(if $(AREAS),--only $(AREAS))

lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --extra lab --group dev --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-header --no-annotate --output-file requirements.txt
	$(BIN)/uv pip compile pyproject.toml --group extras --constraint requirements.txt --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --output-file requirements-extras.txt
	$(BIN)/uv pip compile pyproject.toml --group site --constraint requirements.txt \
		--constraint requirements-extras.txt --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-header --no-annotate --output-file requirements-site.txt
	for lock in requirements-peers/*.txt; do \
		$(BIN)/uv pip compile --group peer-$$(basename $$lock .txt) --constraint requirements.txt --universal \
			--python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate --output-file $$lock || exit 1; \
	done

# Copies of the lessons for Colab in build/colab, and the badges of docs/one-click.md.
colab: $(READY)
	$(BIN)/python docs/make_colab.py

dist: $(READY)
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist

# Whether the lower bounds in pyproject.toml are true; the tests' own tools are the newest. Needs a package index.
# Which versions are pinned is another test's business.
LOWEST := build/lowest
LOWEST_PYTHON := $(LOWEST)/$(notdir $(BIN))/python

lowest: $(READY)
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST_PYTHON) --resolution lowest-direct -r pyproject.toml --extra lab --extra parquet
	$(BIN)/uv pip install --quiet --python $(LOWEST_PYTHON) --group dev
	$(LOWEST_PYTHON) -m pytest -q $(PARALLEL) -m "not thorough and not scifact and not online and not server" ragkit tests \
		--deselect tests/test_project.py::test_what_runs_is_what_is_pinned

clean:
	rm -rf $(VENV) build dist mutants
