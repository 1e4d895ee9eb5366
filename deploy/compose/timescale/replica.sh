#!/bin/sh
# The command of the replica: copies the primary when there are no data yet, then follows it. To promote it when the
# primary is lost: SELECT pg_promote(). The gateways find the one that takes writes by themselves.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password="$(cat /run/secrets/timescale/replication_password)"
    export PGPASSWORD="$password"
    install -d -m 0700 -o postgres -g postgres "$PGDATA"
    su-exec postgres pg_basebackup --host timescale-1 --username replicator --pgdata "$PGDATA" --wal-method stream \
        --checkpoint fast --create-slot --slot timescale_2 --write-recovery-conf
    unset PGPASSWORD
fi
exec docker-entrypoint.sh "$@"
