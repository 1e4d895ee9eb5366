#!/usr/bin/env bash
# Sets everything up and serves in the foreground until Ctrl-C; stops what it started.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/environment.sh"

http="http://${TIDEWELL_HTTP_LISTEN:-127.0.0.1:4318}"
if curl --silent --fail --output /dev/null "$http/healthz" 2>/dev/null; then
    echo "a gateway serves $http already (\`make demo KEEP=1\` leaves one): stop it first" >&2
    exit 1
fi

deploy/prerequisites.sh
build tidewell-embedded tidewell-gateway
trap stop_stores EXIT
start_stores

# In a session of its own, so that Ctrl-C reaches it once, as the request below, and not also through the terminal.
setsid "${CARGO_TARGET_DIR:-target}/quick/tidewell" serve "$@" &
gateway=$!
trap 'kill -TERM "$gateway" 2>/dev/null' INT TERM HUP

left=600
until curl --fail --silent --output /dev/null "$http/healthz"; do
    # The gateway has said why.
    kill -0 "$gateway" 2>/dev/null || break
    if ((--left == 0)); then
        echo "the gateway runs but does not answer at $http: does TIDEWELL_CONFIG name another http.listen?" >&2
        break
    fi
    sleep 0.1
done
if kill -0 "$gateway" 2>/dev/null; then
    echo "the gateway serves HTTP on $http and gRPC on ${TIDEWELL_GRPC_LISTEN:-127.0.0.1:4317}, until Ctrl-C"
fi

# A signal ends `wait` before the gateway has finished what it accepted.
while true; do
    wait "$gateway" && status=0 || status=$?
    kill -0 "$gateway" 2>/dev/null || exit "$status"
done
