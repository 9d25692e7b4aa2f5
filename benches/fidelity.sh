#!/usr/bin/env bash
# The scoreboard of fidelity: the type zoo of the test suite, moved by shunt, by mariadb-dump | mariadb and by mydumper + myloader, in
# four directions between MariaDB and MySQL 5.6, and the cells that are not what they were, counted for each. The servers themselves
# show the cells: every byte in hexadecimal, FLOAT and DOUBLE in all digits with their sign. Writes benches/runs/…/fidelity.md.
set -euo pipefail
cd "$(dirname "$0")/.."

run="benches/runs/$(date +%F)-$(uname -m)-$(nproc)cpu"
mkdir -p "$run"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

SHUNT_FIDELITY="$work/table.md" cargo test --quiet --workspace --test suite --locked -- --ignored zoo::fidelity::scoreboard
{
    echo "# Cells of the type zoo that changed on their way"
    echo
    echo "$(mariadbd --version | sed 's/^[^ ]* *//'); MySQL 5.6.24; $(mariadb-dump --version | sed 's/^[^ ]* *//');"
    echo "$(mydumper --version 2>&1 | head -1); $(uname -m). Repeat with \`benches/fidelity.sh\`."
    echo
    echo "What shunt refuses (tests/zoo.rs lists it) is not counted. mariadb-dump with --single-transaction --hex-blob, loaded with"
    echo "--force; mydumper with --trx-consistency-only."
    echo
    cat "$work/table.md"
} >"$run/fidelity.md"
cat "$run/fidelity.md"
