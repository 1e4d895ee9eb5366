#!/usr/bin/env bash
# Writes what the gateway is made of to target/supply-chain: licences.txt (every licence with the crates under it) and
# tidewell.cdx.json (a CycloneDX bill of materials). The checks of both are .ci/supply-chain.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly cyclonedx_version=0.5.9
readonly tools="$PWD/.tools/cargo" out=target/supply-chain

.ci/supply-chain
if [[ $("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null) != *"$cyclonedx_version"* ]]; then
    echo "building cargo-cyclonedx $cyclonedx_version into .tools (some minutes on two cores)"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_TARGET_DIR="$tools/build" cargo install --quiet --locked --root "$tools" "cargo-cyclonedx@$cyclonedx_version"
    rm -rf "$tools/build"
fi

mkdir -p "$out"
"$tools/bin/cargo-deny" --locked list --format human --layout license >"$out/licences.txt"
# It writes beside each manifest; the gateway's is the one that is shipped.
"$tools/bin/cargo-cyclonedx" cyclonedx --manifest-path gateway/Cargo.toml --format json --spec-version 1.5 \
    --override-filename tidewell.cdx --quiet
mv gateway/tidewell.cdx.json "$out/tidewell.cdx.json"
find . -name 'tidewell.cdx.json' -not -path "./$out/*" -not -path './.tools/*' -delete

python3 - "$out/tidewell.cdx.json" Cargo.lock <<'PYTHON'
import json, re, sys

bill = json.load(open(sys.argv[1]))
locked = set(re.findall(r'\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"', open(sys.argv[2]).read()))
named = {(part["name"], part["version"]) for part in bill["components"]}
unknown, nameless = named - locked, [part["name"] for part in bill["components"] if not part.get("licenses")]
if unknown or nameless or len(named) < 100:
    sys.exit(f"the bill of materials is wrong: not in Cargo.lock {unknown}, without a licence {nameless}, {len(named)} parts")
print(f"tidewell.cdx.json: {len(named)} parts, each in Cargo.lock and with a licence")
PYTHON
echo "licences.txt: $(grep --count '(' "$out/licences.txt") licences"
