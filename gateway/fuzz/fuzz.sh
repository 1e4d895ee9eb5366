#!/usr/bin/env bash
# Fuzzes every decoder from its corpus, FUZZ_SECONDS (60) each, as many at once as there are processors; arguments name
# targets to run instead of all. Fails when one crashes, hangs or takes more memory than it may. Works with the stable
# compiler: libFuzzer is built from libfuzzer-sys and finds its way by the coverage that LLVM records.
set -euo pipefail
# shellcheck source=deploy/environment.sh
source "$(dirname "$0")/../../deploy/environment.sh"

readonly seconds=${FUZZ_SECONDS:-60} fuzz=gateway/fuzz found=data/fuzz
readonly programs=$PWD/${CARGO_TARGET_DIR:-target}/fuzz
# What a decoder may take in all, and at once: the limit of decoded bytes in the targets is 16 MiB.
readonly memory_mib=1024 allocation_mib=256

deploy/prerequisites.sh
if ! command -v c++ >/dev/null; then
    echo "installing g++ with apt, for libFuzzer"
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends g++ >/dev/null
fi

host=$(rustc --version --verbose | sed -n 's/^host: //p')
targets=("$@")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"/\1/p' "$fuzz/Cargo.toml")
fi

echo "building ${#targets[@]} targets"
# The versions that everything else is built with.
cp Cargo.lock "$fuzz/Cargo.lock"
coverage=(
    --cfg=fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16
)
# Naming the target keeps the flags from build scripts.
RUSTFLAGS=${coverage[*]} cargo build --quiet --release --manifest-path "$fuzz/Cargo.toml" --target "$host" \
    --target-dir "$programs" "${targets[@]/#/--bin=}"

# run TARGET: begins with the corpus in the project, and adds to one beside it.
run() {
    local target=$1 status=0
    mkdir -p "$found/$target/corpus"
    timeout --kill-after=10 $((seconds + 120)) "$programs/$host/release/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb="$memory_mib" -malloc_limit_mb="$allocation_mib" \
        -artifact_prefix="$found/$target/" -print_final_stats=1 \
        "$found/$target/corpus" "$fuzz/corpus/$target" >"$found/$target/log" 2>&1 || status=$?
    if ((status != 0)); then
        echo "FAILED $target, see $found/$target"
        tail -n 20 "$found/$target/log"
        return 1
    fi
    awk -v target="$target" '/^stat::number_of_executed_units/ { runs = $2 } /^stat::peak_rss_mb/ { peak = $2 }
        END { printf "ok     %-14s %9d inputs, at most %d MiB\n", target, runs, peak }' "$found/$target/log"
}

failed=0 running=0
for target in "${targets[@]}"; do
    run "$target" &
    if ((++running == $(nproc))); then
        wait -n || failed=1
        ((running--)) || true
    fi
done
while ((running-- > 0)); do wait -n || failed=1; done
exit "$failed"
