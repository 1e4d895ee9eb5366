#!/usr/bin/env bash
# Makes the Debian package of the gateway in target/debian: deploy/debian/build.sh [BINARY [VERSION]]. Without a binary it
# builds one with release optimisation. Needs dpkg-deb alone; equal inputs give equal bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${2:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
binary=${1:-}
if [[ -z $binary ]]; then
    cargo build --locked --release --package tidewell-gateway
    binary="${CARGO_TARGET_DIR:-target}/release/tidewell"
fi
architecture=$(dpkg --print-architecture)
package="target/debian/tidewell_${version}_${architecture}.deb"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"

put() { install -D --mode="$1" "$2" "$root/$3"; }
put 0755 "$binary" usr/bin/tidewell
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/tidewell"
put 0644 deploy/systemd/tidewell.service usr/lib/systemd/system/tidewell.service
put 0644 deploy/systemd/tidewell.sysusers usr/lib/sysusers.d/tidewell.conf
put 0644 deploy/debian/tidewell.default etc/default/tidewell
put 0644 gateway/docs/configuration.md usr/share/doc/tidewell/configuration.md
put 0644 README.md usr/share/doc/tidewell/README.md
put 0644 deploy/debian/copyright usr/share/doc/tidewell/copyright
mkdir -p "$root/usr/share/doc/tidewell" "$root/etc/tidewell" "$root/DEBIAN"
gzip --best --no-name <CHANGELOG.md >"$root/usr/share/doc/tidewell/changelog.gz"
chmod 0644 "$root/usr/share/doc/tidewell/changelog.gz"

# Every setting with its default, and the one that a package decides: where the log is.
awk '/^#directory = / { print "directory = \"/var/lib/tidewell/wal\""; found = 1; next } { print }
     END { exit !found }' deploy/tidewell.example.toml >"$root/etc/tidewell/tidewell.toml"
chmod 0640 "$root/etc/tidewell/tidewell.toml"

printf '%s\n' /etc/tidewell/tidewell.toml /etc/default/tidewell >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do put 0755 "deploy/debian/$script" "DEBIAN/$script"; done
size=$(du --summarize --apparent-size --block-size=1024 --exclude=DEBIAN "$root" | cut -f 1)
# What the binary links against, and the C library that it was built with: an older one lacks symbols.
libc=$(objdump --dynamic-syms "$root/usr/bin/tidewell" | grep -o 'GLIBC_[0-9.]*' | sort --version-sort | tail -n 1)
cat >"$root/DEBIAN/control" <<CONTROL
Package: tidewell
Version: $version
Architecture: $architecture
Maintainer: Tidewell maintainers <maintainers@tidewell.invalid>
Installed-Size: $size
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1 (>= 4.2), adduser | systemd
Recommends: ca-certificates
Suggests: clickhouse-server, postgresql
Section: net
Priority: optional
Description: gateway for metrics, logs and traces
 Takes telemetry by REST, gRPC, OTLP and Arrow Flight, keeps it in a
 write-ahead log before it answers, and stores it in TimescaleDB and
 ClickHouse, each record exactly once.
CONTROL

mkdir -p target/debian
# The time of the last change of the sources, not of the build.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y Cargo.lock)}
export SOURCE_DATE_EPOCH
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
