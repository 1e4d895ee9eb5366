#!/usr/bin/env bash
# Starts, stops or shows the embedded stores: deploy/stores.sh up|down|restart|status|psql [option ..]
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/environment.sh"

action="${1:?up, down, restart, status or psql}"
if [[ $action == up || $action == restart ]]; then
    deploy/prerequisites.sh
    build tidewell-embedded
elif [[ ! -x $embedded ]]; then
    echo "the embedded stores have never been started here: make stores" >&2
    # Nothing to stop is a success; nothing to show is not.
    [[ $action == down ]]
    exit
fi
exec "$embedded" "$@"
