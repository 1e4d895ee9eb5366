#!/usr/bin/env bash
# Runs every test of the workspace against the embedded stores; arguments go to cargo test.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/environment.sh"

deploy/prerequisites.sh
build tidewell-embedded
trap stop_stores EXIT
start_stores
cargo test --locked --workspace "$@"
