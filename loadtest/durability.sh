#!/usr/bin/env bash
# Measures what durability costs, on stores and gateways of its own: see durability.py. Arguments go there.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"

readonly folder=data/durability
readonly programs=${CARGO_TARGET_DIR:-target}/quick
export EMBEDDED_STORES_DATA_DIR=$folder/stores

stop() {
    local status=$?
    trap - EXIT
    "$folder/bin/tidewell-embedded" down || true
    exit "$status"
}

deploy/prerequisites.sh
mkdir -p "$folder/bin"
# The same gateway twice: as it is shipped, and with a switch that leaves out what makes delivery exactly once.
cargo build --locked --profile quick --package tidewell-embedded --package tidewell-loadtest
cargo build --locked --profile quick --package tidewell-gateway --features fault-injection
cp "$programs"/tidewell{,-embedded,-loadtest} "$folder/bin/"

read -r EMBEDDED_STORES_TIMESCALE_PORT EMBEDDED_STORES_CLICKHOUSE_PORT < <(free_ports)
export EMBEDDED_STORES_TIMESCALE_PORT EMBEDDED_STORES_CLICKHOUSE_PORT
trap stop EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$folder/stores"
"$folder/bin/tidewell-embedded" up
python3 loadtest/durability.py --folder "$folder" "$@"
