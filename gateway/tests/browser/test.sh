#!/usr/bin/env bash
# Looks at the status page of a gateway of its own in Chromium; `test.sh screenshots` writes them to gateway/docs/images as well.
# GATEWAY_BINARY names a gateway to use.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../../../deploy/environment.sh"

readonly folder=data/status-page-test database=status_page_test_$$ browser=.tools/browser
gateway=

stop() {
    local status=$?
    trap - EXIT
    if [[ -n $gateway ]]; then kill -TERM "$gateway" && wait "$gateway" || true; fi
    "$embedded" psql -- --quiet --command "DROP DATABASE IF EXISTS $database WITH (FORCE)" 2>/dev/null || true
    curl --silent --output /dev/null "$TIDEWELL_CLICKHOUSE_URL" --data "DROP DATABASE IF EXISTS $database" || true
    stop_stores
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

deploy/prerequisites.sh
if [[ -z ${CHROMIUM:-} ]] && ! command -v chromium >/dev/null; then
    echo "installing chromium with apt"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; } >/dev/null
fi
if ! cmp --silent gateway/tests/browser/package-lock.json "$browser/installed-lock.json"; then
    mkdir -p "$browser"
    cp gateway/tests/browser/package.json gateway/tests/browser/package-lock.json "$browser/"
    npm ci --prefix "$browser" --silent --no-audit --no-fund
    cp gateway/tests/browser/package-lock.json "$browser/installed-lock.json"
fi
if [[ -z ${GATEWAY_BINARY:-} ]]; then
    build tidewell-embedded tidewell-gateway
    GATEWAY_BINARY=${CARGO_TARGET_DIR:-target}/quick/tidewell
elif [[ ! -x $embedded ]]; then
    build tidewell-embedded
fi
start_stores

rm -rf "$folder" && mkdir -p "$folder" gateway/docs/images
"$embedded" psql -- --quiet --command "CREATE DATABASE $database"
read -r http grpc < <(free_ports)
TIDEWELL_HTTP_LISTEN=127.0.0.1:$http TIDEWELL_GRPC_LISTEN=127.0.0.1:$grpc TIDEWELL_CLICKHOUSE_DATABASE=$database \
    TIDEWELL_TIMESCALE_URL=${TIDEWELL_TIMESCALE_URL%/*}/$database TIDEWELL_WAL_DIRECTORY=$folder/wal \
    "$GATEWAY_BINARY" serve >"$folder/gateway.log" 2>&1 &
gateway=$!
until curl --silent --fail "http://127.0.0.1:$http/readyz" | grep --quiet '"status":"ready"'; do
    if ! kill -0 "$gateway"; then tail "$folder/gateway.log" >&2 && exit 1; fi
    sleep 0.1
done
screenshots=$folder
if [[ ${1:-} == screenshots ]]; then screenshots=gateway/docs/images; fi
# Modules are looked for beside the script.
cp gateway/tests/browser/status.mjs "$browser/"
node "$browser/status.mjs" "http://127.0.0.1:$http" "$screenshots"
