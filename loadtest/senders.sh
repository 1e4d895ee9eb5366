#!/usr/bin/env bash
# Real senders against a gateway on the embedded stores: the OpenTelemetry Collector, telemetrygen, Prometheus, SDKs,
# Flight clients and Vector's requests, each audited in the stores for count and content. Arguments name senders to run
# instead of all. The last line is one JSON object.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../deploy/environment.sh"

# The newest whose modules are all to be had from the registry.
readonly collector=v0.149.0 prometheus=v0.315.0 go_needed=1.26.1
readonly tools=$PWD/.tools/senders folder=data/senders own=loadtest/senders
export GOBIN=$tools/bin GOFLAGS=-buildvcs=false

say() { printf '==> %s [%s s]\n' "$*" "$SECONDS"; }

# done_for NAME CONTENT: whether NAME was made of CONTENT before; made NAME CONTENT says so.
done_for() { [[ $(cat "$tools/$1.made" 2>/dev/null) == "$2" ]]; }
made() { printf '%s' "$2" >"$tools/$1.made"; }

# A Go that is new enough. Debian's is older than the mechanism by which Go fetches newer ones of itself, but it can
# fetch that module by hand.
install_go() {
    if command -v go >/dev/null && [[ $(printf 'go%s\n%s\n' "$go_needed" "$(go env GOVERSION)" | sort --version-sort | head -n 1) == "go$go_needed" ]]; then
        return
    fi
    if ! command -v go >/dev/null; then
        say "installing Debian's Go with apt"
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends golang-go >/dev/null
    fi
    local module platform root
    platform=$(go env GOOS)-$(go env GOARCH)
    module=golang.org/toolchain@v0.0.1-go$go_needed.$platform
    say "fetching Go $go_needed from the module registry"
    mkdir -p "$tools/toolchain"
    (cd "$tools/toolchain" && { [[ -f go.mod ]] || go mod init toolchain; } && go mod download "$module")
    root=$(go env GOMODCACHE)/$module
    # A module carries no permission to execute.
    chmod -R u+w "$root"
    find "$root/bin" "$root/pkg/tool" -type f -exec chmod +x {} +
    export PATH=$root/bin:$PATH GOROOT=$root GOTOOLCHAIN=local
}

install_collector() {
    local content
    content="$collector $(sha256sum <deploy/collector/builder.yaml)"
    if done_for collector "$content"; then return; fi
    say "building a Collector $collector with its own builder, and telemetrygen (some minutes)"
    go install "go.opentelemetry.io/collector/cmd/builder@$collector"
    go install "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0"
    (cd deploy/collector && "$tools/bin/builder" --config builder.yaml >"$tools/collector.log" 2>&1) || {
        tail -n 5 "$tools/collector.log" >&2
        exit 1
    }
    made collector "$content"
}

# unpack PACKAGE FOLDER: a package of Debian's, unpacked and not installed, so that no service is left behind.
unpack() {
    if [[ -d $tools/$2/usr ]]; then return; fi
    say "unpacking Debian's $1"
    rm -rf "${tools:?}/$2" && mkdir -p "$tools/$2"
    (cd "$tools/$2" && { apt-get download "$1" || { apt-get update && apt-get download "$1"; }; } >/dev/null && dpkg -x ./*.deb . && rm ./*.deb)
}

install_prometheus() {
    unpack prometheus prometheus
    unpack prometheus-node-exporter node-exporter
    if done_for prometheus "$prometheus"; then return; fi
    say "building Prometheus $prometheus from the module registry (some minutes)"
    # Not `go install`: its go.mod replaces modules. It serves no pages without its assets, and needs none here.
    local source=$tools/prometheus-source
    rm -rf "$source" && mkdir -p "$source"
    (
        cd "$source"
        go mod init prometheus
        go get "github.com/prometheus/prometheus/cmd/prometheus@$prometheus"
        go build -o "$tools/bin/prometheus" github.com/prometheus/prometheus/cmd/prometheus
    ) >"$tools/prometheus.log" 2>&1 || {
        tail -n 5 "$tools/prometheus.log" >&2
        exit 1
    }
    made prometheus "$prometheus"
}

install_programs() {
    local content
    content=$(cat "$own"/go/* | sha256sum)
    if ! done_for go "$content"; then
        say "building the senders in Go"
        (cd "$own/go" && go build -o "$tools/bin/senders" .)
        made go "$content"
    fi
    content=$(cat "$own"/node/* | sha256sum)
    if ! done_for node "$content"; then
        say "installing the SDK for Node.js"
        rm -rf "$tools/node" && cp -r "$own/node" "$tools/node"
        npm ci --prefix "$tools/node" --silent --no-audit --no-fund
        made node "$content"
    fi
    content=$(sha256sum <"$own/requirements.txt")
    if ! done_for python "$content"; then
        say "installing the SDK for Python and pyarrow"
        python3 -m venv --clear "$tools/python"
        "$tools/python/bin/pip" install --quiet --disable-pip-version-check -r "$own/requirements.txt"
        made python "$content"
    fi
}

deploy/prerequisites.sh
mkdir -p "$tools"
build tidewell-embedded tidewell-gateway
install_go
install_collector
install_prometheus
install_programs
trap stop_stores EXIT
start_stores
rm -rf "$folder" && mkdir -p "$folder"
say "running the senders"
"$tools/python/bin/python" "$own/run.py" "${CARGO_TARGET_DIR:-target}/quick/tidewell" "$tools" "$folder" "$@"
