#!/bin/sh
# Run once by the image, when the data directory is made: the user that Grafana reads with.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$(cat /run/secrets/timescale/grafana_password)" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
-- The gateway's first migration would make it, and finds it here.
CREATE ROLE tidewell_read NOLOGIN;
CREATE ROLE grafana LOGIN PASSWORD :'password' IN ROLE tidewell_read;
SQL
