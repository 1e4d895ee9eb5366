#!/usr/bin/env bash
# Attacks a gateway of its own with a database of its own, and says in the last line how many attacks succeeded (2 minutes).
# Arguments are classes of attacks to try instead of all.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"

readonly folder=data/security
database="security_$$"
gateway="${CARGO_TARGET_DIR:-target}/quick/tidewell"

deploy/prerequisites.sh
if [[ -z ${GATEWAY_BINARY:-} ]]; then build tidewell-embedded tidewell-gateway; else gateway=$GATEWAY_BINARY; fi
forget() {
    "$embedded" psql -- --quiet --command "DROP DATABASE IF EXISTS $database WITH (FORCE)" || true
    curl --silent "$TIDEWELL_CLICKHOUSE_URL/" --data "DROP DATABASE IF EXISTS $database" || true
    stop_stores
}
trap forget EXIT
start_stores
"$embedded" psql -- --quiet --command "CREATE DATABASE $database"
rm -rf "$folder"
mkdir -p "$folder"
read -r http_port grpc_port < <(free_ports)
export TIDEWELL_TIMESCALE_URL="${TIDEWELL_TIMESCALE_URL%/*}/$database" TIDEWELL_CLICKHOUSE_DATABASE=$database
python3 loadtest/security/run.py "$gateway" "$folder" "$http_port" "$grpc_port" "$@"
