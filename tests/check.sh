#!/usr/bin/env bash
# Everything that must be clean: format, lint, types, import contracts, tests. Extra words go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff format --check .
ruff check .
mypy
lint-imports
python -m pytest "$@"
