#!/usr/bin/env bash
# Everything that must be clean: format, lint, types, import contracts, tests. Extra words go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff format --check .
ruff check .
mypy
lint-imports
# Two processes: most tests keep one core busy. Threads of torch that wait would spin on the other.
OMP_WAIT_POLICY=PASSIVE python -m pytest -n 2 --dist worksteal "$@"
