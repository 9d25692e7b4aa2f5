#!/usr/bin/env bash
# Fuzzes each target for so many seconds (60), two at a time, from the kept inputs. Needs a nightly compiler and cargo-fuzz
# (cargo install cargo-fuzz). What is found is written to tests/fuzz/artifacts: mend it, and keep the input in tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/../tests"

seconds="${1:-60}"
cache="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/shunt/target}/fuzz"
# In bytes: what one input may take at once, and all in all. zstd takes up to 128 MiB for a window.
limits=(-malloc_limit_mb=256 -rss_limit_mb=1536 -timeout=10 -max_len=16384)
targets=(event rows gtid json)

cargo +nightly fuzz build --target-dir "$cache"
fuzz() {
    local found="$cache/corpus/$1"
    mkdir -p "$found"
    # New inputs go to the first folder, so that the kept ones stay few.
    cargo +nightly fuzz run --target-dir "$cache" "$1" "$found" "fuzz/corpus/$1" -- \
        -max_total_time="$seconds" -print_final_stats=1 "${limits[@]}" >"$cache/$1.log" 2>&1 ||
        { tail -40 "$cache/$1.log" >&2; return 1; }
    grep -E '^(Done|stat::number_of_executed_units|stat::peak_rss_mb)' "$cache/$1.log" | sed "s/^/$1: /"
}
failed=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    fuzz "${targets[at]}" & first=$!
    fuzz "${targets[at + 1]}" & second=$!
    wait "$first" || failed=1
    wait "$second" || failed=1
done
exit "$failed"
