#!/usr/bin/env bash
# A prepared backlog in the source's binlog, fetched and applied by shunt beside two native replicas of the same source, in parallel (one optimistic,
# one conservative), one after the other and in every second round in the other order, all writing their binlog with the same durability: small
# transactions, bulk inserts, updates and deletes of 1,000 rows each, and hot keys. Each begins when all servers are at rest. Prints each round,
# the medians and whether the bars are met, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-100000}" events="${EVENTS:-40000}" hot="${HOT:-10000}" batches="${BATCHES:-1000}" kinds="${KINDS:-small inserts updates deletes hot}"
settings="ROWS=$rows EVENTS=$events HOT=$hot BATCHES=$batches KINDS=$kinds"
workflow=customer.bench

start_servers --replicas 1 --rdonly 1
sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads=2 prepare >/dev/null
sql commerce "CREATE TABLE bulk (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, KEY (k));
    CREATE TABLE hot (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO hot SELECT seq, 0 FROM seq_1_to_100"
parallel_replica replica optimistic
parallel_replica rdonly conservative
quietly "$shunt" movetables create "$workflow" --source commerce --all-tables --detach
start_worker
"$shunt" movetables wait "$workflow" --for running --timeout 300s >/dev/null

# 1,000 rows a transaction.
bulk() { # statement with %d for the number of the first row
    local batch
    for batch in $(seq 0 $((batches - 1))); do
        # shellcheck disable=SC2059
        printf "$1;\n" $((batch * 1000))
    done
}
change() { # kind
    case $1 in
    small) sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads=4 --events="$events" --time=0 run >/dev/null ;;
    inserts) sql commerce "$(bulk 'INSERT INTO bulk SELECT %d + seq, seq %% 997, REPEAT(CHAR(97 + seq %% 26), 120) FROM seq_1_to_1000')" ;;
    updates) sql commerce "$(bulk 'UPDATE bulk SET k = k + 1 WHERE id > %d ORDER BY id LIMIT 1000')" ;;
    deletes) sql commerce "$(bulk 'DELETE FROM bulk WHERE id > %d ORDER BY id LIMIT 1000')" ;;
    hot) for _ in $(seq "$hot"); do echo "UPDATE hot SET n = n + 1;"; done | client commerce ;;
    esac
}
replica_applies() { # server type
    local gtid
    gtid=$(sql commerce "SELECT @@gtid_binlog_pos") &&
        sql commerce "START SLAVE; SELECT MASTER_GTID_WAIT('$gtid', 600)" "$1"
}
catches_up() {
    start_worker
    "$shunt" movetables wait "$workflow" --for caught-up --timeout 600s
}
# Not in a subshell: the worker stays.
shunt_applies() {
    local start
    start=$(now)
    quietly catches_up
    shunt_s=$(since "$start") cpu=$(cpu_of "$worker") peak=$(peak_of "$worker")
}
all_rest() { rest commerce && rest commerce replica && rest commerce rdonly && rest customer; }
# Rows that the source has inserted, updated and deleted since it was started.
rows_changed() {
    sql commerce "SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_write', 'Handler_update', 'Handler_delete')" | awk '{sum += $2} END {print sum}'
}

open_results catchup "a backlog fetched and applied; seconds; ratios of rows/s by the native replica's; CPU of the worker per row changed, its peak memory" \
    "kind round shunt optimistic conservative by-optimistic by-conservative us-per-change KiB"
for round in $(seq "$rounds"); do
    for kind in $kinds; do
        stop_worker
        for server in replica rdonly; do sql commerce "STOP SLAVE" "$server"; done
        # Where a GTID is a server learns by reading its file from the beginning.
        sql commerce "FLUSH BINARY LOGS"
        before=$(rows_changed)
        change "$kind"
        changed=$(($(rows_changed) - before))
        if [ $((round % 2)) = 0 ]; then all_rest; shunt_applies; fi
        all_rest
        if [ "$round" = 1 ]; then profile_begins; fi
        optimistic_s=$(seconds replica_applies replica)
        profile_ends "catchup-$kind-optimistic"
        all_rest
        conservative_s=$(seconds replica_applies rdonly)
        if [ $((round % 2)) = 1 ]; then
            all_rest
            if [ "$round" = 1 ]; then profile_begins; fi
            shunt_applies
            profile_ends "catchup-$kind-shunt"
        fi
        must_be_equal "sbtest1, sbtest2, bulk, hot" "customer primary" "commerce replica" "commerce rdonly"
        echo "$kind $round $shunt_s $optimistic_s $conservative_s $(quotient "$optimistic_s" "$shunt_s")" \
            "$(quotient "$conservative_s" "$shunt_s") $(us_per "$cpu" "$changed") $peak" | keep
    done
done
for kind in $kinds; do
    of="^$kind "
    echo "# $kind: rows/s by the optimistic replica $(spread 6 "$of"), by the conservative one $(spread 7 "$of")" | keep
    case $kind in small) least=2 ;; hot) least=5 ;; *) least=1 ;; esac
    # Beside the mode that is the faster one for this kind.
    native_s=$(printf '%s\n' "$(median 4 "$of")" "$(median 5 "$of")" | sort -g | head -1)
    bar "$kind: rows/s by the faster native replica" "$(quotient "$native_s" "$(median 3 "$of")")" "at least" "$least"
    bar "$kind: client CPU us per applied change" "$(median 8 "$of")" "at most" 3
done
