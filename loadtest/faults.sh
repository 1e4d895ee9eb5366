#!/usr/bin/env bash
# Kills and disturbs gateways and stores of its own and audits that nothing acknowledged is lost, doubled or changed.
# Arguments go to `tidewell-loadtest faults`; FAULTS=ci does each fault a few times. Needs root, as the embedded stores do.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"

readonly folder=data/faults
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
    # A tester that was killed could not unmount what it had mounted.
    awk -v folder="$PWD/$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | xargs --no-run-if-empty umount --lazy
    exit "$status"
}

deploy/prerequisites.sh
if ! command -v strace >/dev/null; then
    echo "installing strace with apt"
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends strace >/dev/null
fi
# The feature goes into the gateway alone; the copies stay what they are when the folder is built in again.
cargo build --locked --profile quick --package tidewell-embedded --package tidewell-loadtest
cargo build --locked --profile quick --package tidewell-gateway --features fault-injection
mkdir -p "$folder/bin"
cp --remove-destination "$programs"/tidewell{,-embedded,-loadtest} "$folder/bin/"

read -r EMBEDDED_STORES_TIMESCALE_PORT EMBEDDED_STORES_CLICKHOUSE_PORT < <(free_ports)
export EMBEDDED_STORES_TIMESCALE_PORT EMBEDDED_STORES_CLICKHOUSE_PORT
trap stop EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$folder"/stores "$folder"/faults-*
"$folder/bin/tidewell-loadtest" faults --folder "$folder" --part "${FAULTS:-full}" "$@" &
tester=$!
wait "$tester"
