#!/usr/bin/env bash
# VDiff of two equal sysbench tables beside pt-table-checksum (where it is installed), the bare checksum statement, CHECKSUM TABLE and bare
# client scans, each on both sides at once but the first, in one run, warm; then of the same tables with random rows damaged. Prints each
# round, the medians and whether the bars are met, and keeps the raw numbers with versions in benches/runs/: vdiff.txt, and vdiff-damaged.txt.
# pt-table-checksum reads one side only, so that `rows/s` is rows of both sides for shunt and of one side for it.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-2000000}" damaged="${DAMAGED:-1000}"
settings="ROWS=$rows DAMAGED=$damaged"

both() { # options of the client: on both sides at once
    client commerce "$@" >/dev/null &
    local first=$!
    client customer "$@" >/dev/null
    wait "$first"
}
# Exit code 3 says that rows differ.
ours() { # strength
    timed "$shunt" vdiff run --source commerce --target customer --tables sbtest1 --strength "$1" --verbose --format json || [ $? = 3 ]
}
diff_of() { # strength, rows that differ: what `measure` prints, of a VDiff that has looked at all rows and found just these
    measure ours "$1" || return 1
    if ! grep -q "\"RowsCompared\": $rows," "$work/log" || ! grep -q "\"MismatchedRows\": $2," "$work/log"; then
        cat "$work/log" >&2
        return 1
    fi
}
checksum_table() { both -e "CHECKSUM TABLE sbtest1"; }
bare() { both -e "SELECT BIT_XOR(CRC32(CONCAT_WS('#', id, k, c, pad))) FROM sbtest1"; }
scans() { both --quick -e "SELECT * FROM sbtest1"; }
peer() {
    # shellcheck disable=SC2046
    pt-table-checksum $(login commerce) --databases=commerce --tables=sbtest1 \
        --no-check-binlog-format --no-check-replication-filters --recursion-method=none --quiet
}

start_servers --replicas 0
for keyspace in commerce customer; do
    sysbench_on "$keyspace" oltp_read_write --tables=1 --table-size="$rows" --rand-seed=7 prepare >/dev/null
done
# The same random numbers on both sides do not make the same rows in every version of sysbench.
sql customer "TRUNCATE TABLE sbtest1"
client commerce --quick -e "SELECT * FROM sbtest1" | client customer -e \
    "SET SESSION unique_checks=0; LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE sbtest1" --local-infile=1

# Warm: the whole table stays in memory on both sides.
both -e "SET GLOBAL innodb_buffer_pool_size = GREATEST(1 << 30, $rows * 600)"
both -e "SELECT SUM(LENGTH(pad)) FROM sbtest1"
open_results vdiff "two equal tables of $rows sysbench rows, warm; seconds; CPU of the client per pair of rows, its peak memory" \
    "round fast strong bare checksum-table scans pt-table-checksum fast/bare fast/checksum-table scans/strong rows/s-of-fast-by-peer fast-us strong-us fast-KiB strong-KiB"
for round in $(seq "$rounds"); do
    if [ "$round" = 1 ]; then profile_begins; fi
    cost=$(diff_of fast 0)
    profile_ends vdiff-fast
    read -r fast_s fast_cpu _ _ fast_peak <<<"$cost"
    bare_s=$(seconds bare)
    if [ "$round" = 1 ]; then profile_begins; fi
    cost=$(diff_of strong 0)
    profile_ends vdiff-strong
    read -r strong_s strong_cpu _ _ strong_peak <<<"$cost"
    scans_s=$(seconds scans)
    checksum_s=$(seconds checksum_table)
    peer_s=-
    if command -v pt-table-checksum >/dev/null; then peer_s=$(seconds peer); fi
    peer_of_pairs=$(quotient "$peer_s" "$fast_s" | awk '{if ($1 == "-") print; else printf "%.2f\n", 2 * $1}')
    echo "$round $fast_s $strong_s $bare_s $checksum_s $scans_s $peer_s" \
        "$(quotient "$fast_s" "$bare_s") $(quotient "$fast_s" "$checksum_s") $(quotient "$scans_s" "$strong_s") $peer_of_pairs" \
        "$(us_per "$fast_cpu" "$rows") $(us_per "$strong_cpu" "$rows") $fast_peak $strong_peak" | keep
done
of="^[0-9]"
fast_s=$(median 2 "$of") strong_s=$(median 3 "$of")
echo "# fast by the bare statement $(spread 8 "$of"), by CHECKSUM TABLE $(spread 9 "$of"); two scans by strong $(spread 10 "$of"); rows/s of fast by pt-table-checksum $(spread 11 "$of")" | keep
bar "fast: time by the bare statement" "$(quotient "$fast_s" "$(median 4 "$of")")" "at most" 3
bar "fast: rows/s by pt-table-checksum" "$(median 11 "$of")" "at least" 3
bar "strong: rows/s by two scans" "$(quotient "$(median 6 "$of")" "$strong_s")" "at least" 0.6
bar "the larger peak memory, KiB" "$(numbers 14 "$of" | cat - <(numbers 15 "$of") | sort -g | tail -1)" "at most" 204800
bar "fast: client CPU us per pair of rows" "$(median 12 "$of")" "at most" 1
bar "strong: client CPU us per pair of rows" "$(median 13 "$of")" "at most" 1

sql customer "UPDATE sbtest1 SET k = k + 1 ORDER BY RAND(7) LIMIT $damaged"
open_results vdiff-damaged "the same tables, $damaged random rows of the target damaged, all found; seconds; by the median of the equal tables" \
    "round fast strong fast/equal strong/equal fast-us strong-us fast-KiB strong-KiB"
for round in $(seq "$rounds"); do
    cost=$(diff_of fast "$damaged")
    read -r fast_damaged_s fast_cpu _ _ fast_peak <<<"$cost"
    cost=$(diff_of strong "$damaged")
    read -r strong_damaged_s strong_cpu _ _ strong_peak <<<"$cost"
    echo "$round $fast_damaged_s $strong_damaged_s $(quotient "$fast_damaged_s" "$fast_s") $(quotient "$strong_damaged_s" "$strong_s")" \
        "$(us_per "$fast_cpu" "$rows") $(us_per "$strong_cpu" "$rows") $fast_peak $strong_peak" | keep
done
echo "# damaged by equal: fast $(spread 4 "$of"), strong $(spread 5 "$of")" | keep
