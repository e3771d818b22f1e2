# `just` lists what there is. Without just: `uv run just ...`, or type the lines yourself.

set positional-arguments

# List the commands
[private]
default:
    @just --list --unsorted

# Install everything into .venv, with the pinned versions
setup:
    uv sync

# Run server and workers here, restarting is up to you: one process, SQLite
dev *ARGS:
    uv run agentvine up "$@"

# Run the tests; arguments go to pytest
test *ARGS:
    uv run pytest "$@"

# Run all tests, as CI does
test-all *ARGS:
    uv run pytest "$@"
    uv run pytest -m "slow or chaos" "$@"

# Run the slow tests alone: whole stories, searches, and whatever kills
test-slow *ARGS:
    uv run pytest -m "slow or chaos" "$@"

# Drive the real CLIs of agents, which are installed into a cache; arguments go to pytest
clis *ARGS:
    uv run pytest -m "clis or clis_long" "$@"

# Refuse what ruff and the house rules refuse
lint:
    uv run ruff check
    uv run ruff format --check
    uv run python -m tools.lint --warnings

# Format, and mend what ruff can mend
fix:
    uv run ruff check --fix
    uv run ruff format

# Check the types
types:
    uv run basedpyright --threads 2

# Check who imports whom
arch:
    uv run lint-imports --no-logo

# Draft a migration from what the models say now and the migrations do not
migration MESSAGE:
    uv run python -m tools.migration "$1"

# Write the OpenAPI description to docs/reference/openapi.json
openapi:
    uv run python -m tools.gen_openapi

# Write every page of docs/reference that comes from the code
docs-generate *ARGS:
    uv run python -m tools.gen_docs "$@"

# Check the documents: links, named paths, decision records
docs:
    uv run pytest tests/architecture/test_documents.py

# Kill every part at random moments: `just chaos --minutes 10 --seed 7 --report DIR`; prints its seed
chaos *ARGS:
    uv run python -m tools.chaos "$@"

# Ask a server whose database is away, for long, and look at its memory; `just soak 20000`
soak REQUESTS="10000":
    AGENTVINE_SOAK_REQUESTS="$1" uv run pytest -n 1 -m chaos tests/chaos/test_soak.py

# Measure the queue beside others, on servers started for it; `--scale 0.2` is quick
bench *ARGS:
    uv run --group bench python -m benchmarks.queue "$@"

# Kill workers of ours and of others, and measure when their jobs run again; `ours dbos` is quick
bench-recovery *ARGS:
    uv run --group bench python -m benchmarks.recovery "$@"

# Measure what a fleet feels over HTTP: drain, pickup, beats, log lines, a long history
bench-fleet *ARGS:
    uv run python -m benchmarks.fleet "$@"

# Measure what stands between a message and our code: servers, JSON, drivers; `--seconds 1 --rounds 2` is quick
bench-http *ARGS:
    uv run --group bench python -m benchmarks.http "$@"

# Measure calls to models through the gateway, beside LiteLLM; `--seconds 1 --rounds 1` is quick
bench-gateway *ARGS:
    uv run python -m benchmarks.gateway "$@"

# Measure how fast work trees are made, beside plain git; `--files 1000 --rounds 3` is quick
bench-worktrees *ARGS:
    uv run python -m benchmarks.worktrees "$@"

# Measure what it costs to look at a run's processes; `--others 60 --looks 50` is quick
bench-looks *ARGS:
    uv run python -m benchmarks.looks "$@"

# Measure how fast a repository is looked into, beside ast.parse; `--files 300` is quick
bench-impact *ARGS:
    uv run python -m benchmarks.impact "$@"

# Measure how fast documents and memories are found; `--documents 1000 --memories 10000` is quick
bench-search *ARGS:
    uv run python -m benchmarks.search "$@"

# Pin all versions again; `just lock --upgrade NAME`, `just lock --all`
lock *ARGS:
    uv run python -m tools.lock "$@"

# Everything CI checks, by the same command
check *ARGS:
    .ci/run "$@"
