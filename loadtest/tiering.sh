#!/usr/bin/env bash
# Moves ranges between stores of its own while movers die, freeze, race and are lied to, and audits every read of the
# combined tables. Arguments go to `tidewell-loadtest tiering`; TIERING=ci does it with fewer rows. With `bench` first, it
# measures instead what moving and reading cost: `tidewell-loadtest tiering-bench`. Needs root, as the stores do.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"

if [[ ${1:-} == bench ]]; then
    shift
    readonly folder=data/tier-bench features=() command=(tiering-bench)
else
    readonly folder=data/tiering features=(--features fault-injection) command=(tiering --part "${TIERING:-full}")
fi
readonly programs=${CARGO_TARGET_DIR:-target}/quick
export EMBEDDED_STORES_DATA_DIR=$folder/stores
tester=

# The next two lines work on this run's own folder and ports only.
stop() {
    local status=$?
    trap - EXIT
    if [[ -n $tester ]] && kill -0 "$tester" 2>/dev/null; then
        kill -TERM "$tester"
        wait "$tester" || true
    fi
    "$folder/bin/tidewell-embedded" down || true
    exit "$status"
}

deploy/prerequisites.sh
# The feature goes into the gateway alone; the copies stay what they are when the folder is built in again.
cargo build --locked --profile quick --package tidewell-embedded --package tidewell-loadtest
cargo build --locked --profile quick --package tidewell-gateway "${features[@]}"
mkdir -p "$folder/bin"
cp --remove-destination "$programs"/tidewell{,-embedded,-loadtest} "$folder/bin/"

read -r EMBEDDED_STORES_TIMESCALE_PORT EMBEDDED_STORES_CLICKHOUSE_PORT < <(free_ports)
export EMBEDDED_STORES_TIMESCALE_PORT EMBEDDED_STORES_CLICKHOUSE_PORT
trap stop EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$folder"/stores "$folder"/first "$folder"/second
"$folder/bin/tidewell-loadtest" "${command[@]}" --folder "$folder" "$@" &
tester=$!
wait "$tester"
