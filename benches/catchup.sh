#!/usr/bin/env bash
# A prepared backlog applied by shunt beside a native replica of the same source (parallel, optimistic), one after the other, both writing
# their binlog with the same durability: small transactions, bulk inserts, updates and deletes of 1,000 rows each, and hot keys. Prints
# each round and the median ratios, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-100000}" events="${EVENTS:-40000}" hot="${HOT:-10000}" batches="${BATCHES:-300}" kinds="${KINDS:-small inserts updates deletes hot}"
settings="ROWS=$rows EVENTS=$events HOT=$hot BATCHES=$batches KINDS=$kinds"
workflow=customer.bench

start_servers --replicas 1
sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads=2 prepare >/dev/null
sql commerce "CREATE TABLE bulk (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, KEY (k));
    CREATE TABLE hot (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO hot SELECT seq, 0 FROM seq_1_to_100"
sql commerce "STOP SLAVE; SET GLOBAL slave_parallel_threads = 4, slave_parallel_mode = 'optimistic', slave_domain_parallel_threads = 0;
    SET GLOBAL slave_parallel_max_queued = 16777216; START SLAVE" replica
"$shunt" movetables create "$workflow" --source commerce --all-tables --detach >/dev/null
worker=""
start_worker() {
    "$shunt" serve >"$work/serve.log" 2>&1 &
    worker=$!
    stays+=("$worker")
}
stop_worker() {
    kill "$worker"
    wait "$worker" || true
}
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
    hot) for _ in $(seq "$hot"); do echo "UPDATE hot SET n = n + 1;"; done | mariadb --no-defaults --protocol=TCP $(login commerce) commerce ;;
    esac
}
replica_applies() {
    local gtid
    gtid=$(sql commerce "SELECT @@gtid_binlog_pos")
    sql commerce "START SLAVE SQL_THREAD; SELECT MASTER_GTID_WAIT('$gtid', 600)" replica
}
shunt_applies() {
    start_worker
    "$shunt" movetables wait "$workflow" --for caught-up --timeout 600s
}
# The replica has the backlog in its relay log: only applying counts. For shunt fetching counts too.
fetched() {
    local at
    at=$(sql commerce "SELECT @@gtid_binlog_pos")
    # shellcheck disable=SC2046
    until mariadb --no-defaults --protocol=TCP $(login commerce replica) -e "SHOW SLAVE STATUS\G" | grep -q "Gtid_IO_Pos: .*${at##*,}"; do
        sleep 0.1
    done
}

# Who says that it has caught up has all of it.
must_be_equal() {
    local sums="CHECKSUM TABLE sbtest1, sbtest2, bulk, hot" here there
    here=$(sql commerce "$sums" | cut -f2) there=$(sql customer "$sums" | cut -f2)
    [ "$here" = "$there" ] || { echo "the tables differ: $here, there $there" >&2; exit 1; }
}

open_results catchup "a backlog applied; seconds; ratio of rows/s by the native replica's" "kind round shunt native ratio"
for round in $(seq "$rounds"); do
    for kind in $kinds; do
        stop_worker
        sql commerce "STOP SLAVE SQL_THREAD" replica
        change "$kind"
        fetched
        native_s=$(seconds replica_applies)
        # Not in a subshell: the worker stays.
        start=$(now)
        shunt_applies >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
        shunt_s=$(since "$start")
        must_be_equal
        echo "$kind $round $shunt_s $native_s" | awk '{printf "%s %d %.2f %.2f %.2f\n", $1, $2, $3, $4, $4 / $3}' | keep
    done
done
for kind in $kinds; do echo "# median of $kind: $(median 5 "^$kind ")" | keep; done
