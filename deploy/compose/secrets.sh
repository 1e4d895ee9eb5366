#!/bin/sh
# Makes every password and key of the compose files, once: each in a volume of its own, /secrets/NAME, that only those who
# need it mount. Nothing secret stands in a compose file, an environment or an image. Another place than /secrets may be
# named as the argument.
set -eu
umask 022

# 32 random bytes in letters, digits, - and _: such a text needs quoting nowhere.
random() { head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d '='; }
# The file of each is readable in the containers that mount its volume, whatever their user is.
keep() { [ -s "$1" ] || { random >"$1.new" && mv "$1.new" "$1"; }; }
sha256() { printf '%s' "$(cat "$1")" | sha256sum | cut -d ' ' -f 1; }

cd "${1:-/secrets}"
keep gateway/timescale_password
keep gateway/clickhouse_password
keep grafana/timescale_password
keep grafana/clickhouse_password
keep grafana/admin_password
cp gateway/timescale_password timescale/owner_password
cp grafana/timescale_password timescale/grafana_password
# The replica of the cluster's Postgres copies with a user of its own.
keep timescale/replication_password

# Callers of the gateway: each has a key of its own, and the gateway their hashes.
keep sender-keys/vector
keep sender-keys/applications
keep observer-keys/prometheus
cat >gateway/callers.toml.new <<CALLERS
[[caller]]
name = "vector"
keys_sha256 = ["$(sha256 sender-keys/vector)"]
scopes = ["write"]
signals = ["logs", "metrics"]

[[caller]]
name = "applications"
keys_sha256 = ["$(sha256 sender-keys/applications)"]
scopes = ["write", "read", "register"]

[[caller]]
name = "prometheus"
keys_sha256 = ["$(sha256 observer-keys/prometheus)"]
scopes = ["observe"]
CALLERS
# Callers that somebody added, and keys that somebody rotated, stay.
[ -s gateway/callers.toml ] || mv gateway/callers.toml.new gateway/callers.toml
rm -f gateway/callers.toml.new

# ClickHouse knows its users by the hashes of their passwords. `default`, which has none, is gone.
cat >clickhouse-users/users.xml.new <<USERS
<clickhouse>
    <profiles>
        <reader><readonly>2</readonly></reader>
    </profiles>
    <users>
        <default remove="remove"/>
        <tidewell>
            <password_sha256_hex>$(sha256 gateway/clickhouse_password)</password_sha256_hex>
            <profile>default</profile>
            <quota>default</quota>
            <networks><ip>::/0</ip></networks>
            <grants>
                <query>GRANT ALL ON tidewell.*</query>
                <query>GRANT SELECT ON system.*</query>
                <query>GRANT KILL QUERY, TABLE ENGINE ON *</query>
                <query>GRANT CREATE TEMPORARY TABLE, POSTGRES ON *.*</query>
            </grants>
        </tidewell>
        <grafana>
            <password_sha256_hex>$(sha256 grafana/clickhouse_password)</password_sha256_hex>
            <profile>reader</profile>
            <quota>default</quota>
            <networks><ip>::/0</ip></networks>
            <grants>
                <query>GRANT SELECT ON tidewell.*</query>
                <query>GRANT SELECT ON system.*</query>
            </grants>
        </grafana>
    </users>
</clickhouse>
USERS
mv clickhouse-users/users.xml.new clickhouse-users/users.xml
