#!/usr/bin/env bash
# Everything that must be clean: format, lint, types, import contracts, tests. Extra words go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff format --check .
ruff check .
mypy
lint-imports
# Three processes: on two cores they take three quarters of the time of two, since tests of the app wait for half of theirs. Threads of
# torch that wait would spin on a core that others need.
OMP_WAIT_POLICY=PASSIVE python -m pytest -n 3 --dist worksteal "$@"
