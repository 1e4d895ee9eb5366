# shellcheck shell=bash
# To be sourced by the scripts beside it: the addresses of the embedded stores, and how to start and stop them.
# Changes to the project's folder.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Always the embedded stores: a test or a demo must not reach a production database that happens to be configured.
export TIDEWELL_TIMESCALE_URL="postgres://tidewell@127.0.0.1:${EMBEDDED_STORES_TIMESCALE_PORT:-15432}/tidewell"
export TIDEWELL_CLICKHOUSE_URL="http://127.0.0.1:${EMBEDDED_STORES_CLICKHOUSE_PORT:-18123}"
export TIDEWELL_CLICKHOUSE_DATABASE=tidewell

embedded="${CARGO_TARGET_DIR:-target}/quick/tidewell-embedded"
stores_started=()

# Builds the packages named, with the optimisation that demo and stores need.
build() {
    local packages=()
    for package in "$@"; do packages+=(--package "$package"); done
    cargo build --locked --profile quick "${packages[@]}"
}

# Starts the stores that do not run and remembers which these were.
start_stores() {
    local store
    for store in timescale clickhouse; do
        if ! "$embedded" status --only "$store" >/dev/null; then stores_started+=("$store"); fi
    done
    "$embedded" up
}

# Stops the stores that start_stores had to start.
stop_stores() {
    local store
    for store in "${stores_started[@]}"; do "$embedded" down --only "$store"; done
    stores_started=()
}

# Two ports that nobody listens on, below those that the system gives to outgoing connections: one of these would take
# the port of a store that is dead for a moment.
free_ports() {
    python3 - <<'PYTHON'
import random, socket

def is_free(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0

print(*[port for port in random.sample(range(10000, 20000), 100) if is_free(port)][:2])
PYTHON
}
