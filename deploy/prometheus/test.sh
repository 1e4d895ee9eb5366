#!/usr/bin/env bash
# Causes what each alert rule waits for, on gateways of its own, and measures when it fires: see check/. The last line is one
# JSON object. ALERTS_SCALE=1 takes the rules' minutes as they are (20 minutes), 10 by default; --only NAME .. takes some causes. GATEWAY_BINARY names a gateway.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../environment.sh"
# shellcheck source=deploy/demo/senders.sh
source deploy/demo/senders.sh

readonly folder=data/alerts-test
trap stop_stores EXIT
trap 'exit 130' INT TERM HUP

deploy/prerequisites.sh
if [[ -z ${GATEWAY_BINARY:-} ]]; then
    build tidewell-embedded tidewell-gateway
    GATEWAY_BINARY=${CARGO_TARGET_DIR:-target}/quick/tidewell
elif [[ ! -x $embedded ]]; then
    build tidewell-embedded
fi
start_stores
install_python
unpack_package prometheus
rm -rf "$folder" && mkdir -p "$folder"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=deploy/prometheus "$tools/python/bin/python" -m check --binary "$GATEWAY_BINARY" \
    --folder "$folder" --programs "$unpacked_packages/prometheus/usr/bin" --rules deploy/prometheus/alerts.yaml \
    --timescale "$TIDEWELL_TIMESCALE_URL" --clickhouse "$TIDEWELL_CLICKHOUSE_URL" --scale "${ALERTS_SCALE:-10}" "$@" | tee "$folder/result.txt"
