#!/bin/sh
# Runs inside of the Debian 12 of package.sh, as root under systemd: what a person does with the package, and what must be
# true after each step. Ends at the first that is not.
set -eu
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "failed: $*"
    journalctl --no-pager --lines 30 --unit tidewell 2>/dev/null || true
    exit 1
}
property() { systemctl show --property "$1" --value tidewell.service; }
ready() {
    left=100
    until curl --silent --fail --output /dev/null "http://$HTTP/readyz"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "not ready after 10 s"
        sleep 0.1
    done
}
write() { curl --silent --fail-with-body "http://$HTTP/write/logs" -H 'content-type: application/json' -H "tidewell-ack: $2" \
    --data "{\"app\":\"package\",\"message\":\"$1\"}" || fail "writing $1"; }
stored() { curl --silent "$CLICKHOUSE_URL/?database=$DATABASE" --data "SELECT count() FROM logs_events WHERE message = '$1'"; }
wait_stored() {
    left=200
    until [ "$(stored "$1")" = 1 ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "$1 is $(stored "$1") times in the store"
        sleep 0.1
    done
}
# Where the gateway finds the stores, as an administrator says it beside the package's own files.
stores() {
    mkdir -p /etc/systemd/system/tidewell.service.d
    printf '%s\n' '[Service]' "Environment=TIDEWELL_HTTP_LISTEN=$HTTP TIDEWELL_GRPC_LISTEN=$GRPC" \
        "Environment=TIDEWELL_TIMESCALE_URL=$TIMESCALE_URL" \
        "Environment=TIDEWELL_CLICKHOUSE_URL=$1 TIDEWELL_CLICKHOUSE_DATABASE=$DATABASE" \
        >/etc/systemd/system/tidewell.service.d/stores.conf
    systemctl daemon-reload
}

# What an earlier check left.
dpkg --purge tidewell >/dev/null 2>&1 || true
rm -rf /var/lib/tidewell

stores "$CLICKHOUSE_URL"
dpkg --install /check/first.deb >/dev/null
[ "$(systemctl is-active tidewell)" = active ] || fail "the unit is not active after the installation"
[ "$(systemctl is-enabled tidewell)" = enabled ] || fail "the unit is not enabled"
ready
echo "install: active and enabled, ready"

process=/proc/$(property MainPID)
[ "$(stat -c %U "$process")" = tidewell ] || fail "it runs as $(stat -c %U "$process")"
for line in 'CapEff:	0000000000000000' 'CapBnd:	0000000000000000' 'NoNewPrivs:	1' 'Seccomp:	2'; do
    grep -q "^$line" "$process/status" || fail "its status lacks $line"
done
for directory in /etc /usr/bin /home /root /var/lib /var/log; do
    nsenter --target "$(property MainPID)" --mount touch "$directory/written" 2>/dev/null && fail "it may write to $directory"
done
nsenter --target "$(property MainPID)" --mount touch /var/lib/tidewell/written || fail "it cannot write to its own directory"
rm /var/lib/tidewell/written
[ "$(stat -c '%a %U' /var/lib/tidewell)" = '750 tidewell' ] || fail "/var/lib/tidewell is $(stat -c '%a %U' /var/lib/tidewell)"
[ "$(stat -c '%a %U %G' /etc/tidewell/tidewell.toml)" = '640 root tidewell' ] || fail "the settings are $(stat -c '%a %U %G' /etc/tidewell/tidewell.toml)"
echo "sandbox: user tidewell, no capability, system call filter, only its log is writable"

write first stored | grep -q '"ack":"stored"' || fail "the first record is not stored"
wait_stored first
echo "write: stored"

before=$(property MainPID)
systemctl reload tidewell || fail "it cannot be reloaded"
left=50
until journalctl --quiet --unit tidewell | grep -q SIGHUP; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || fail "it has not noticed the reload"
    sleep 0.1
done
[ "$(property MainPID)" = "$before" ] || fail "a reload is no restart"
echo "reload: noticed, the same process"

kill -KILL "$(property MainPID)"
sleep 2
ready
[ "$(property NRestarts)" = 1 ] || fail "it was restarted $(property NRestarts) times after SIGKILL"
echo "killed: started again"

# A store that is away, so that the log is not empty when the new version takes it over.
stores http://127.0.0.1:9
systemctl restart tidewell
ready
write second durable | grep -q '"ack":"durable"' || fail "the second record is not durable"
[ "$(stored second)" = 0 ] || fail "the second record is in the store already"
stores "$CLICKHOUSE_URL"
before=$(property MainPID)
dpkg --install /check/second.deb >/dev/null
[ "$(dpkg-query --show --showformat '${Version}' tidewell)" = 0.0.2~check ] || fail "the version is the old one"
[ "$(property MainPID)" != "$before" ] || fail "the old process still runs"
ready
wait_stored second
write third stored >/dev/null
wait_stored third
[ "$(stored first)" = 1 ] || fail "the first record is there $(stored first) times"
echo "upgrade: with a record in the log, which was stored once"

printf 'nonsense\n' >>/etc/tidewell/tidewell.toml
systemctl restart tidewell 2>/dev/null && fail "it starts with settings that cannot be used"
[ "$(property Result)" = exit-code ] || fail "wrong settings end in $(property Result)"
sed -i '$d' /etc/tidewell/tidewell.toml
systemctl reset-failed tidewell
systemctl start tidewell
ready
echo "wrong settings: it does not start, and says so"

systemctl stop tidewell
[ "$(property Result)" = success ] || fail "it ended with $(property Result)"
systemctl start tidewell
dpkg --remove tidewell >/dev/null
[ "$(systemctl is-active tidewell)" = inactive ] || fail "it runs after the removal"
[ ! -e /usr/bin/tidewell ] || fail "the removal left the program"
{ [ -e /etc/tidewell/tidewell.toml ] && [ -d /var/lib/tidewell/wal ]; } || fail "the removal took settings or log"
curl --silent --output /dev/null "http://$HTTP/healthz" && fail "it answers after the removal"
echo "remove: stopped; settings and log are kept"

dpkg --purge tidewell >/dev/null 2>/tmp/purge
[ ! -e /etc/tidewell ] || fail "the purge left settings"
{ [ -d /var/lib/tidewell/wal ] && grep -q 'is kept' /tmp/purge; } || fail "the purge took the log, or kept it without a word"
echo "purge: settings gone; the log is kept, and it says so"
