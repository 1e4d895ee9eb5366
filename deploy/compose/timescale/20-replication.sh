#!/bin/sh
# Run once by the image on the primary: the user that the replica copies with.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$(cat /run/secrets/timescale/replication_password)" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'password';
SQL
echo 'host replication replicator samenet scram-sha-256' >>"$PGDATA/pg_hba.conf"
