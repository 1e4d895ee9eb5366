#!/usr/bin/env bash
# Builds the gateway twice from the committed sources, in folders of different names and with other clocks, and compares the
# programs byte by byte: who has the sources can make the release again. PROFILE=quick does it faster, without link-time
# optimisation (10 minutes instead of 30 on two cores).
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

# What a release is built with: nothing of the machine's paths is in the program.
sum_of_build() {
    local folder=$work/$1
    mkdir -p "$folder"
    git archive HEAD | tar --extract --directory "$folder"
    (
        cd "$folder"
        export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$folder/target SOURCE_DATE_EPOCH=0
        export RUSTFLAGS="--remap-path-prefix=$folder=/tidewell --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        # What C compilers of dependencies write into their objects.
        export CFLAGS="-ffile-prefix-map=$folder=/tidewell -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        cargo build --locked --quiet --profile "$profile" --package tidewell-gateway
    )
    sha256sum "$folder/target/$profile/tidewell" | cut -d ' ' -f 1
    rm -rf "$folder"
}

first=$(sum_of_build first)
second=$(sum_of_build another-folder)
echo "$first first"
echo "$second second"
if [[ $first != "$second" ]]; then
    echo "the two builds differ" >&2
    exit 1
fi
echo "the $profile build is reproducible"
