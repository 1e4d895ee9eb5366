#!/usr/bin/env bash
# Sets everything up, sends this machine's own telemetry through every protocol, shows what landed, stops what it
# started. KEEP=1 leaves it running. The last line is one JSON object with the counts of every protocol.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../environment.sh"
# shellcheck source=deploy/demo/senders.sh
source deploy/demo/senders.sh

readonly http=127.0.0.1:4318 grpc=127.0.0.1:4317 exporter=127.0.0.1:19100
export TIDEWELL_HTTP_LISTEN=$http TIDEWELL_GRPC_LISTEN=$grpc
# Settings for a gateway of the user's own do not concern this one.
unset TIDEWELL_CONFIG TIDEWELL_ENV_FILE TIDEWELL_TIMESCALE_PASSWORD TIDEWELL_TIMESCALE_PASSWORD_FILE \
    TIDEWELL_CLICKHOUSE_USER TIDEWELL_CLICKHOUSE_PASSWORD TIDEWELL_CLICKHOUSE_PASSWORD_FILE
readonly logs=data/demo
pids=()

say() { printf '\n==> %s [%s s]\n' "$*" "$SECONDS"; }

# Ends what this script started, the gateway before its stores.
stop() {
    local status=$? pid
    if [[ ${KEEP:-0} != 0 && $status == 0 ]]; then return; fi
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || continue; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || continue; done
    stop_stores
}
trap stop EXIT

# wait_for WHAT URL LOG PID: until the address answers with success, or the process has ended.
wait_for() {
    local what=$1 url=$2 log=$3 pid=$4 left=300
    echo "  waiting for $what at $url"
    until curl --silent --fail --output /dev/null "$url"; do
        if ! kill -0 "$pid" 2>/dev/null || ((--left == 0)); then
            echo "$what does not answer; the end of $log:" >&2
            tail -n 15 "$log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

say "checking what this machine has"
deploy/prerequisites.sh
say "building (the first time takes some minutes)"
build tidewell-embedded tidewell-gateway
say "starting the stores"
start_stores
say "installing the senders"
mkdir -p "$logs"
rm -f "$logs/result.json"
install_python
install_node
unpack_package prometheus-node-exporter

say "starting the gateway"
if curl --silent --fail --output /dev/null "http://$http/readyz"; then
    echo "  one is running at http://$http already: using it"
else
    "${CARGO_TARGET_DIR:-target}/quick/tidewell" serve >"$logs/gateway.log" 2>&1 &
    pids+=($!)
    wait_for "the gateway" "http://$http/readyz" "$logs/gateway.log" "${pids[-1]}"
fi
"$unpacked_packages/prometheus-node-exporter/usr/bin/prometheus-node-exporter" --web.listen-address="$exporter" \
    >"$logs/node-exporter.log" 2>&1 &
pids+=($!)
wait_for "the node exporter" "http://$exporter/metrics" "$logs/node-exporter.log" "${pids[-1]}"

say "sending this machine's telemetry"
status=0
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$tools/generated" "$tools/python/bin/python" deploy/demo/demo.py \
    --http "$http" --grpc "$grpc" --node-exporter "$exporter" --node-modules "$tools/node" \
    --timescale "$TIDEWELL_TIMESCALE_URL" --clickhouse "$TIDEWELL_CLICKHOUSE_URL" \
    --clickhouse-database "$TIDEWELL_CLICKHOUSE_DATABASE" --result "$logs/result.json" || status=$?
if ((status != 0)); then
    echo "the demo is not complete: see $logs/gateway.log and \`SELECT * FROM dead_letters\`" >&2
    if [[ -e $logs/result.json ]]; then cat "$logs/result.json"; fi
    exit "$status"
fi

if [[ ${KEEP:-0} != 0 ]]; then
    say "everything is up: open http://$http (stop: kill ${pids[*]}; make stores-stop)"
    disown -a
else
    say "stopping what was started; \`make run\` brings it up again: then open http://$http"
    trap - EXIT
    stop
fi
cat "$logs/result.json"
