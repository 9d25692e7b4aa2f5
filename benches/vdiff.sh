#!/usr/bin/env bash
# VDiff of two equal sysbench tables beside pt-table-checksum (where it is installed), the bare checksum statement and bare client
# scans on both sides at once, in one run, warm. Prints each round and the ratios, and keeps the raw numbers with versions in
# benches/runs/. pt-table-checksum reads one side only, so that `rows/s` is rows of both sides for shunt and of one side for it.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-2000000}"
settings="ROWS=$rows"

client() { # keyspace options…
    # shellcheck disable=SC2046
    mariadb --no-defaults --protocol=TCP $(login "$1") -N "${@:2}" "$1"
}
both() { # options of the client: on both sides at once
    client commerce "$@" >/dev/null &
    local first=$!
    client customer "$@" >/dev/null
    wait "$first"
}
ours() { # strength; its peak memory goes to a file
    /usr/bin/time -f %M -o "$work/memory-$1" "$shunt" vdiff run --source commerce --target customer --tables sbtest1 --strength "$1"
}
bare() { both -e "SELECT BIT_XOR(CRC32(CONCAT_WS('#', id, k, c, pad))) FROM sbtest1"; }
scans() { both --quick -e "SELECT * FROM sbtest1"; }
peer() {
    # shellcheck disable=SC2046
    pt-table-checksum $(login commerce) --databases=commerce --tables=sbtest1 \
        --no-check-binlog-format --no-check-replication-filters --recursion-method=none --quiet
}

start_servers
for keyspace in commerce customer; do
    sysbench_on "$keyspace" oltp_read_write --tables=1 --table-size="$rows" --rand-seed=7 prepare >/dev/null
done
# The same random numbers on both sides do not make the same rows in every version of sysbench.
sql customer "TRUNCATE TABLE sbtest1"
client commerce --quick -e "SELECT * FROM sbtest1" | client customer -e \
    "SET SESSION unique_checks=0; LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE sbtest1" --local-infile=1

# Warm: the whole table stays in memory on both sides.
both -e "SET GLOBAL innodb_buffer_pool_size = GREATEST(1 << 30, $rows * 600)"
open_results vdiff "two equal tables of $rows sysbench rows, warm; seconds" \
    "round fast strong bare scans pt-table-checksum fast/bare scans/strong rows/s-of-fast-by-peer"
both -e "SELECT SUM(LENGTH(pad)) FROM sbtest1"
for round in $(seq "$rounds"); do
    fast_s=$(seconds ours fast) bare_s=$(seconds bare) strong_s=$(seconds ours strong) scans_s=$(seconds scans)
    peer_s=-
    if command -v pt-table-checksum >/dev/null; then peer_s=$(seconds peer); fi
    echo "$round $fast_s $strong_s $bare_s $scans_s $peer_s" |
        awk '{printf "%s %s %s %s %s %s %.2f %.2f %.2f\n", $1, $2, $3, $4, $5, $6, $2 / $4, $5 / $3, 2 * $6 / $2}' | keep
done
echo "# peak memory in KiB: fast $(cat "$work/memory-fast"), strong $(cat "$work/memory-strong")" | keep
