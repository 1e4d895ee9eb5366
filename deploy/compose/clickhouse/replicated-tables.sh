#!/bin/bash
# Standard input: what `tidewell migrate --print` writes. Standard output: the statements for ClickHouse alone, with engines
# that replicate. The gateway takes tables that are there as they are, and checks what its delivery relies on.
set -euo pipefail
sed -n '/^-- ClickHouse,/,$p' | sed -E \
    -e 's/^ENGINE = (Replacing)?MergeTree$/ENGINE = Replicated\1MergeTree/' \
    -e 's/\bnon_replicated_deduplication_window\b/replicated_deduplication_window/g'
