#!/usr/bin/env bash
# Measures a gateway on this machine: sets everything up, starts one on free ports with a database of its own, runs the
# load test's suite against it, and stops and removes what it started. Arguments go to `tidewell-loadtest suite`.
# BENCH_PROFILE=release measures the program that is shipped instead of the one that is built faster.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"

readonly profile=${BENCH_PROFILE:-quick}
readonly folder=data/bench
readonly programs=${CARGO_TARGET_DIR:-target}/$profile
database="bench_$(date +%s)_$$"
readonly stores_url=$TIDEWELL_TIMESCALE_URL
gateway=

stop() {
    local status=$?
    trap - EXIT
    if [[ -n $gateway ]]; then
        kill -TERM "$gateway" 2>/dev/null || true
        wait "$gateway" || echo "the gateway ended with an error: see $folder/gateway.log" >&2
        "$programs/tidewell-loadtest" scratch drop "$database" --postgres "$stores_url" || true
    fi
    stop_stores
    exit "$status"
}
trap stop EXIT

deploy/prerequisites.sh
build tidewell-embedded
cargo build --locked --profile "$profile" --package tidewell-gateway --package tidewell-loadtest
start_stores
mkdir -p "$folder"
read -r http_port grpc_port < <(free_ports)
readonly http=127.0.0.1:$http_port grpc=127.0.0.1:$grpc_port

"$programs/tidewell-loadtest" scratch create "$database"
export TIDEWELL_TIMESCALE_URL="${TIDEWELL_TIMESCALE_URL%/*}/$database"
export TIDEWELL_CLICKHOUSE_DATABASE=$database
TIDEWELL_HTTP_LISTEN=$http TIDEWELL_GRPC_LISTEN=$grpc "$programs/tidewell" serve >"$folder/gateway.log" 2>&1 &
gateway=$!
left=300
until curl --silent --fail --output /dev/null "http://$http/readyz"; do
    if ! kill -0 "$gateway" 2>/dev/null || ((--left == 0)); then
        echo "the gateway does not answer; the end of $folder/gateway.log:" >&2
        tail -n 15 "$folder/gateway.log" >&2
        exit 1
    fi
    sleep 0.2
done

echo "the whole report will be in $folder/report.json"
"$programs/tidewell-loadtest" suite --http "$http" --grpc "$grpc" --gateway-pid "$gateway" \
    --json "$folder/report.json" "$@"
