#!/usr/bin/env bash
# Runs every test of the workspace against the embedded stores; arguments go to cargo test.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/environment.sh"

deploy/prerequisites.sh
build tidewell-embedded
trap stop_stores EXIT
start_stores
TIDEWELL_TEST_TIMESCALE_URL=$TIDEWELL_TIMESCALE_URL TIDEWELL_TEST_CLICKHOUSE_URL=$TIDEWELL_CLICKHOUSE_URL \
    cargo test --locked --workspace "$@"
# What is no part of the workspace, unless only some tests are asked for: the dashboards, with the gateway that is built now.
if (($# == 0)); then
    vector/test.sh
    GATEWAY_BINARY=${CARGO_TARGET_DIR:-target}/debug/tidewell grafana/test.sh
    TIERING=ci loadtest/tiering.sh
fi
