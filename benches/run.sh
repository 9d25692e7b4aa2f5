#!/usr/bin/env bash
# All benches in order, into one folder benches/runs/<date>-<machine>/, with what the machine and the tools are. QUICK=1: sizes that say nothing
# but that everything runs. BENCHES chooses some. A bench that fails does not keep the others from running. At the end the report is rendered, if
# its program has been built.
set -euo pipefail
cd "$(dirname "$0")/.."

benches="${BENCHES:-copy catchup load lag pause scaling vdiff gateway}"
machine="$(uname -m)-$(nproc)cpu"
if [ -n "${QUICK:-}" ]; then
    machine+="-quick"
    export ROUNDS="${ROUNDS:-1}" ROWS=20000 ROWS_OTHER=10000 ROWS_WIDE=2000 FILE_ROWS=8000 EVENTS=2000 HOT=200 BATCHES=20 SMALL=5000 TABLES=20
    export SHAPE_ROWS=5000 DAMAGED=100 SECONDS_EACH=2 RATES="100 400" LOOK_SECONDS=2 BINLOG_MIB=5
fi
export RUN_DIR="${RUN_DIR:-benches/runs/$(date +%F)-$machine}"
mkdir -p "$RUN_DIR"

{
    uname -srm
    sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | sort | uniq -c
    sed -n 's/^MemTotal: */memory: /p' /proc/meminfo
    df --output=fstype,source "${TMPDIR:-/tmp}" | tail -1
    git log -1 --format="commit %h of %cs"
    for tool in mariadbd mariadb-dump mydumper sysbench pt-table-checksum pv; do "$tool" --version 2>/dev/null | head -1 || true; done
    haproxy -v 2>/dev/null | head -1 || true
    echo "benches: $benches"
} >"$RUN_DIR/machine.txt"

failed=""
for bench in $benches; do
    echo "== $bench"
    "benches/$bench.sh" || failed+=" $bench"
done
report="${CARGO_TARGET_DIR:-}/release/shunt-bench-report"
if [ -x "$report" ]; then "$report" "$RUN_DIR"; fi
echo "Raw numbers: $RUN_DIR"
if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
