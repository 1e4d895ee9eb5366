#!/usr/bin/env bash
# Installs the Debian package in a Debian 12 of its own whose first process is systemd, and runs it there: install, start,
# write, upgrade with records in the log, remove, purge. deploy/check/package.sh [BINARY]; the stores are the embedded ones.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../environment.sh"

binary=${1:-${CARGO_TARGET_DIR:-target}/quick/tidewell}
readonly machine="$PWD/.tools/deploy-check/debian-12"
readonly http_port=24318 grpc_port=24317
database="package_check_$$"

if [[ ! -x $machine/lib/systemd/systemd ]]; then
    echo "making a Debian 12 in ${machine#"$PWD/"} (one to two minutes, 250 MB)"
    # The machine's own source of packages.
    # shellcheck disable=SC2016 # It is apt that replaces it.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    rm -rf "$machine"
    mkdir -p "$(dirname "$machine")"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl bookworm "$machine" "${mirror%/}" >"$machine.log" ||
        { tail -n 5 "$machine.log" >&2; exit 1; }
fi

# What the package says of the versions is what apt would compare.
first=$(deploy/debian/build.sh "$binary" 0.0.1~check)
second=$(deploy/debian/build.sh "$binary" 0.0.2~check)

"$embedded" psql -- --quiet --command "CREATE DATABASE $database"
forget() {
    "$embedded" psql -- --quiet --command "DROP DATABASE IF EXISTS $database WITH (FORCE)" || true
    curl --silent "$TIDEWELL_CLICKHOUSE_URL/" --data "DROP DATABASE IF EXISTS $database" || true
    rm -f "$first" "$second"
}
trap forget EXIT

install -D --mode=0755 deploy/check/package-inside.sh "$machine/check/run"
install --mode=0644 "$first" "$machine/check/first.deb"
install --mode=0644 "$second" "$machine/check/second.deb"
rm -f "$machine/check/result"
cat >"$machine/check/environment" <<ENVIRONMENT
HTTP=127.0.0.1:$http_port
GRPC=127.0.0.1:$grpc_port
TIMESCALE_URL=${TIDEWELL_TIMESCALE_URL%/*}/$database
CLICKHOUSE_URL=$TIDEWELL_CLICKHOUSE_URL
DATABASE=$database
ENVIRONMENT
cat >"$machine/etc/systemd/system/package-check.service" <<'UNIT'
[Unit]
After=basic.target dbus.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
EnvironmentFile=/check/environment
ExecStart=/bin/sh -c '/check/run >/check/log 2>&1; echo $? >/check/result'
TimeoutStartSec=240
UNIT

# The stores are on the loopback of this machine, so the network is shared with it; everything else is not.
timeout --kill-after=10 300 systemd-nspawn --quiet --directory="$machine" --register=no --keep-unit --console=pipe \
    --boot -- --unit=package-check.service --show-status=no </dev/null >"$machine.boot.log" 2>&1 || true
sed 's/^/  /' "$machine/check/log"
[[ $(cat "$machine/check/result" 2>/dev/null) == 0 ]]
