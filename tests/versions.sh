#!/usr/bin/env bash
# Runs the tests on the oldest versions of all packages that pyproject.toml allows, and on the newest. By hand: it takes two fresh
# environments (5 GB each) and twice the time of the tests. Extra words go to pytest.
#
#   bash tests/versions.sh oldest                      # or: newest, both (the default)
#   bash tests/versions.sh oldest tests/engine/runtime
#
# The checks of the code itself (ruff, mypy) belong to the newest versions alone, which tests/check.sh runs.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-both} in
  oldest | newest) which=("$1"); shift ;;
  both) which=(oldest newest); [ $# -eq 0 ] || shift ;;
  *) which=(oldest newest) ;;
esac
status=0
for versions in "${which[@]}"; do
  venv=$(mktemp -d)
  trap 'rm -rf "$venv"' EXIT
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet uv # pip cannot choose the lowest versions
  resolution=highest; also=()
  if [ "$versions" = oldest ]; then
    resolution=lowest-direct
    also=(--deselect tests/app/test_pictures.py) # the pictures are those of the newest Textual
  fi
  VIRTUAL_ENV=$venv "$venv/bin/uv" pip install --quiet --resolution "$resolution" --editable '.[dev]'
  echo "=== $versions"
  "$venv/bin/pip" list 2>/dev/null | grep -iE "^(torch|torchvision|textual|click|tinydb|msgspec|numpy|pillow|psutil|rich) "
  # As tests/check.sh runs them.
  PATH="$venv/bin:$PATH" OMP_WAIT_POLICY=PASSIVE python -m pytest -n 3 --dist worksteal -p no:cacheprovider "${also[@]}" "$@" ||
    status=1
  rm -rf "$venv"
done
exit $status
