#!/usr/bin/env bash
# How far behind shunt's target is, and a native replica of the same source (parallel, optimistic), one after the other, while the source is
# written at rising rates. A heartbeat is a row inserted every 50 ms with the moment of its statement; its lag is how much later it was seen on
# the other side, which is looked at every 2 ms. Rows, not one row updated: of those that one transaction brings over together each counts.
# Prints each round and the medians, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-100000}" rates="${RATES:-200 400 800 1600 3200}" threads="${THREADS:-16}" window="${SECONDS_EACH:-10}" warm="${WARM_SECONDS:-2}"
settings="ROWS=$rows RATES='$rates' THREADS=$threads SECONDS_EACH=$window WARM_SECONDS=$warm"
workflow=customer.bench

start_servers --replicas 1
sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads=2 prepare >/dev/null
sql commerce "CREATE TABLE heartbeat (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, at DATETIME(6)); INSERT INTO heartbeat VALUES ()"
parallel_replica replica optimistic
quietly "$shunt" movetables create "$workflow" --source commerce --all-tables --detach
start_worker
"$shunt" movetables wait "$workflow" --for running --timeout 1h >/dev/null
stop_worker
sql commerce "STOP SLAVE" replica

# Ends with a heartbeat that says so.
heart() {
    while [ ! -e "$work/stop" ]; do
        echo "INSERT INTO heartbeat (at) VALUES (NOW(6));"
        sleep 0.05
    done | client commerce
    sql commerce "INSERT INTO heartbeat (at) VALUES (NULL)"
}
# Prints the lag of each heartbeat in milliseconds, from those that are new until the last one, however late it comes.
watch() { # keyspace [server type]
    # shellcheck disable=SC2046
    mariadb --no-defaults --protocol=TCP $(login "$@") -N "$1" <<'SQL'
DELIMITER //
BEGIN NOT ATOMIC
    DECLARE known, newest INT;
    DECLARE seen DATETIME(6);
    DECLARE ended BOOL DEFAULT FALSE;
    DECLARE deadline DATETIME DEFAULT SYSDATE() + INTERVAL 10 MINUTE;
    SELECT MAX(id) INTO known FROM heartbeat;
    WHILE NOT ended AND SYSDATE() < deadline DO
        SELECT MAX(id) INTO newest FROM heartbeat;
        SET seen = SYSDATE(6);
        IF newest > known THEN
            SELECT TIMESTAMPDIFF(MICROSECOND, at, seen) / 1000 FROM heartbeat WHERE id > known AND id <= newest AND at IS NOT NULL;
            SELECT at IS NULL INTO ended FROM heartbeat WHERE id = newest;
            SET known = newest;
        END IF;
        DO SLEEP(0.002);
    END WHILE;
END//
SQL
}
follow() { # kind: starts, and returns when all is applied
    local at
    if [ "$1" = shunt ]; then
        start_worker
        "$shunt" movetables wait "$workflow" --for caught-up --timeout 1h >/dev/null
    else
        at=$(sql commerce "SELECT @@gtid_binlog_pos")
        sql commerce "START SLAVE; SELECT MASTER_GTID_WAIT('$at', 3600)" replica >/dev/null
    fi
}
# Sets lag: transactions a second, median, 99th percentile and most in milliseconds, number of heartbeats, CPU seconds of the worker.
lag_of() { # kind rate
    local beats load watcher cpu=-
    follow "$1"
    # What it took to catch up with the other's turn is not counted.
    if [ "$1" = shunt ]; then cpu=$(cpu_of "$worker"); fi
    rm -f "$work/stop"
    heart &
    beats=$!
    sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads="$threads" --rate="$2" --time=$((warm + window)) run >"$work/load.log" 2>&1 &
    load=$!
    sleep "$warm"
    if [ "$1" = shunt ]; then watch customer >"$work/lags" & else watch commerce replica >"$work/lags" & fi
    watcher=$!
    wait "$load" || { cat "$work/load.log" >&2; return 1; }
    touch "$work/stop"
    wait "$beats"
    wait "$watcher"
    if [ "$1" = shunt ]; then
        cpu=$(echo "$(cpu_of "$worker") $cpu" | awk '{printf "%.2f", $1 - $2}')
        "$shunt" movetables wait "$workflow" --for caught-up --timeout 1m >/dev/null
        must_be_equal "sbtest1, sbtest2, heartbeat" "customer primary"
        stop_worker
    else
        must_be_equal "sbtest1, sbtest2, heartbeat" "commerce replica"
        sql commerce "STOP SLAVE" replica
    fi
    [ -s "$work/lags" ] || { echo "no heartbeat arrived" >&2; return 1; }
    lag=$(sed -n 's/.*transactions: .*(\([0-9.]*\) per sec.*/\1/p' "$work/load.log")
    lag+=" $(sort -g "$work/lags" | awk '{of[NR] = $1} END {printf "%.1f %.1f %.1f %d", of[int((NR + 1) / 2)], of[int(NR * 0.99 + 0.5)], of[NR], NR}') $cpu"
}

open_results lag "the lag of heartbeats in ms while sysbench writes at a rate of transactions/s (tps: reached); CPU seconds of shunt's worker" \
    "kind rate round tps median-ms p99-ms max-ms heartbeats client-cpu"
for round in $(seq "$rounds"); do
    if ((round % 2)); then kinds="shunt native"; else kinds="native shunt"; fi
    for rate in $rates; do
        for kind in $kinds; do
            lag_of "$kind" "$rate"
            echo "$kind $rate $round $lag" | keep
        done
    done
done
for rate in $rates; do
    for kind in shunt native; do
        of="^$kind $rate "
        echo "# $kind at $rate/s: median $(spread 5 "$of") ms, p99 $(spread 6 "$of") ms" | keep
    done
    bar "p99 of the lag at $rate/s, ms" "$(median 6 "^shunt $rate ")" "at most" 1000
done
