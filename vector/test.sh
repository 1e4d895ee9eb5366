#!/usr/bin/env bash
# Runs the tests of both configurations: by check.py, and by Vector itself where it is on the PATH.
set -euo pipefail
cd "$(dirname "$0")"

tools=../.tools/vector
if ! cmp --silent requirements.txt "$tools/requirements.txt"; then
    python3 -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$tools/"
fi
if command -v vector >/dev/null; then
    vector validate --no-environment agent.yaml aggregator.yaml
    for file in agent.yaml aggregator.yaml; do vector test "$file"; done
fi
PYTHONDONTWRITEBYTECODE=1 "$tools/bin/python" check.py agent.yaml aggregator.yaml
