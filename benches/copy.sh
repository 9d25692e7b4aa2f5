#!/usr/bin/env bash
# The copy of an idle source beside mydumper + myloader, alternating, in one run: the same data, the same two threads, the same
# durability, both writing the target's binlog, secondary indexes included. Prints each round and the median ratio, and keeps the
# raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=lib.sh
. benches/lib.sh
tables="${TABLES:-2}" rows="${ROWS:-1000000}"
settings="TABLES=$tables ROWS=$rows"

clean_target() {
    sql customer "drop database customer; create database customer"
    sql customer "reset master"
}

peer() {
    rm -rf "$work/dump"
    # shellcheck disable=SC2046
    mydumper $(login commerce) --database=commerce --threads=2 --outputdir="$work/dump" --rows=100000 --trx-consistency-only
    # shellcheck disable=SC2046
    myloader $(login customer) --database=customer --source-db=commerce --threads=2 --directory="$work/dump" --enable-binlog
}
ours() {
    "$shunt" movetables create customer.bench --source commerce --all-tables --stop-after-copy
}

start_servers
sysbench_on commerce oltp_read_write --tables="$tables" --table-size="$rows" --threads=2 prepare >/dev/null

open_results copy "copy of $tables x $rows sysbench rows, idle source; seconds; $(mydumper --version 2>&1 | head -1)" "round shunt mydumper+myloader ratio"
for round in $(seq "$rounds"); do
    clean_target
    shunt_s=$(seconds ours)
    "$shunt" movetables cancel customer.bench >/dev/null
    clean_target
    peer_s=$(seconds peer)
    echo "$round $shunt_s $peer_s" | awk '{printf "%d %.2f %.2f %.2f\n", $1, $2, $3, $2 / $3}' | keep
done
echo "# median ratio: $(median 4 '^[0-9]')" | keep
