#!/usr/bin/env bash
# Runs every panel and variable of the dashboards against both stores on real telemetry: see check/. The last line is one
# JSON object. KEEP=1 leaves the databases and everything that was started. GATEWAY_BINARY names a gateway to use.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"
# shellcheck source=deploy/demo/senders.sh
source deploy/demo/senders.sh

readonly folder=data/dashboards-test database=dashboards_test_$$
pids=()

stop() {
    local status=$? pid
    trap - EXIT
    if [[ ${KEEP:-0} != 0 ]]; then
        echo "left running: ${pids[*]}; the database $database in both stores" >&2
        exit "$status"
    fi
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || continue; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || continue; done
    sql "DROP DATABASE IF EXISTS $database WITH (FORCE)" 2>/dev/null || true
    curl --silent --output /dev/null "$TIDEWELL_CLICKHOUSE_URL" --data "DROP DATABASE IF EXISTS $database" || true
    stop_stores
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

sql() { "$embedded" psql -- --quiet --command "$1"; }

# answers URL LOG: waits until the address answers with success.
answers() {
    local left=300
    until curl --silent --fail --output /dev/null "$1"; do
        if ((--left == 0)) || ! kill -0 "${pids[-1]}" 2>/dev/null; then
            echo "no answer from $1; the end of $2:" >&2
            tail -n 15 "$2" >&2
            exit 1
        fi
        sleep 0.1
    done
}

deploy/prerequisites.sh
if [[ -z ${GATEWAY_BINARY:-} ]]; then
    build tidewell-embedded tidewell-gateway
    GATEWAY_BINARY=${CARGO_TARGET_DIR:-target}/quick/tidewell
elif [[ ! -x $embedded ]]; then
    build tidewell-embedded
fi
start_stores
install_python
install_node
unpack_package prometheus-node-exporter
unpack_package prometheus-postgres-exporter

rm -rf "$folder" && mkdir -p "$folder"
sql "CREATE DATABASE $database"
read -r http grpc < <(free_ports)
read -r node postgres < <(free_ports)
http=127.0.0.1:$http grpc=127.0.0.1:$grpc node=127.0.0.1:$node postgres=127.0.0.1:$postgres
timescale=${TIDEWELL_TIMESCALE_URL%/*}/$database
unset TIDEWELL_CONFIG TIDEWELL_ENV_FILE TIDEWELL_TIMESCALE_PASSWORD TIDEWELL_TIMESCALE_PASSWORD_FILE \
    TIDEWELL_CLICKHOUSE_USER TIDEWELL_CLICKHOUSE_PASSWORD TIDEWELL_CLICKHOUSE_PASSWORD_FILE

TIDEWELL_HTTP_LISTEN=$http TIDEWELL_GRPC_LISTEN=$grpc TIDEWELL_TIMESCALE_URL=$timescale \
    TIDEWELL_CLICKHOUSE_DATABASE=$database TIDEWELL_WAL_DIRECTORY=$folder/wal \
    "$GATEWAY_BINARY" serve >"$folder/gateway.log" 2>&1 &
pids+=($!)
answers "http://$http/readyz" "$folder/gateway.log"
"$unpacked_packages/prometheus-node-exporter/usr/bin/prometheus-node-exporter" --web.listen-address="$node" \
    >"$folder/node-exporter.log" 2>&1 &
pids+=($!)
answers "http://$node/metrics" "$folder/node-exporter.log"
DATA_SOURCE_NAME="$timescale?sslmode=disable" \
    "$unpacked_packages/prometheus-postgres-exporter/usr/bin/prometheus-postgres-exporter" --web.listen-address="$postgres" \
    --extend.query-path=deploy/prometheus/postgres-queries.yaml --no-collector.bgwriter --disable-settings-metrics \
    >"$folder/postgres-exporter.log" 2>&1 &
pids+=($!)
answers "http://$postgres/metrics" "$folder/postgres-exporter.log"

export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$tools/generated:grafana
python=$tools/python/bin/python
"$python" -m unittest --quiet check.expand_test
if ! "$python" deploy/demo/demo.py --http "$http" --grpc "$grpc" --node-exporter "$node" --node-modules "$tools/node" \
    --timescale "$timescale" --clickhouse "$TIDEWELL_CLICKHOUSE_URL" --clickhouse-database "$database" \
    --result "$folder/demo.json" >"$folder/demo.log" 2>&1; then
    echo "the demo's telemetry did not land; the end of $folder/demo.log:" >&2
    tail -n 15 "$folder/demo.log" >&2
    exit 1
fi
"$python" -m check --http "$http" --node-exporter "$node" --postgres-exporter "$postgres" --timescale "$timescale" \
    --clickhouse "$TIDEWELL_CLICKHOUSE_URL" --database "$database" | tee "$folder/result.txt"
