#!/usr/bin/env bash
# Checks what the other scripts need, installs with apt what apt has, and names what it cannot install.
set -euo pipefail
cd "$(dirname "$0")/.."

# Builds, programs and data of the stores together.
readonly disk_needed_mib=12288
missing=()
packages=()

lacks() { missing+=("$1"); }

# Major and minor version $1 is at least $2.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort --version-sort | head -n 1) == "$2" ]]; }

if command -v apt-get >/dev/null; then
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    { command -v node && command -v npm; } >/dev/null || packages+=(nodejs npm)
    command -v curl >/dev/null || packages+=(curl ca-certificates)
    # A Python without ensurepip makes no virtual environment: Debian packages it apart.
    python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
else
    lacks "apt: the embedded stores are installed on Debian and its relatives only, or set TIDEWELL_TIMESCALE_URL and TIDEWELL_CLICKHOUSE_URL and run tidewell serve with stores of your own"
fi

if ((EUID != 0)); then
    lacks "root: the embedded stores install packages and change to a user of their own (run it with sudo)"
elif ((${#packages[@]})); then
    echo "installing with apt: ${packages[*]}"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # Some lines of the many, as a sign of life.
    if { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } 2>&1 | tee "$log" |
        awk '/^(Get:|Setting up)/ && ++lines % 20 == 0 { print "  " $0; fflush() }'; then
        rm "$log"
    else
        tail -n 5 "$log" >&2
        lacks "the packages ${packages[*]}: apt cannot install them, see $log"
    fi
fi

rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null; then
    lacks "cargo, with Rust $rust_needed or newer: install it with rustup, and have ~/.cargo/bin on the PATH"
elif ! at_least "$(rustc --version | awk '{ print $2 }')" "$rust_needed"; then
    lacks "Rust $rust_needed or newer: this is $(rustc --version); update it with \`rustup update\`"
fi

if [[ $(uname -m) != x86_64 ]] && ! command -v clickhouse >/dev/null; then
    lacks "an x86-64 processor: the ClickHouse engine is packaged for no other (or install clickhouse)"
fi

# What the OpenTelemetry SDK of the demo runs on.
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit((a === 18 && b >= 19) || a === 19 || (a === 20 && b >= 6) || a > 20 ? 0 : 1)' 2>/dev/null; then
    lacks "Node.js 18.19 or newer: this is $(node --version 2>&1 || true)"
fi

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    lacks "Python 3.10 or newer: this is $(python3 --version 2>&1 || true)"
fi

disk_free_mib=$(df --output=avail --block-size=M . | tail -n 1 | tr -dc '0-9')
if ((disk_free_mib < disk_needed_mib)) && [[ ! -d target ]]; then
    lacks "disk space: $disk_free_mib MiB are free in $PWD, the builds and stores take $disk_needed_mib MiB"
fi

if ((${#missing[@]})); then
    echo "this machine lacks:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
