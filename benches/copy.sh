#!/usr/bin/env bash
# The copy of an idle source beside mydumper + myloader, alternating, in one run: the same data, the same two threads, the same
# durability, both writing the target's binlog, secondary indexes included. Prints each round and the median ratio, and keeps the
# raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."

shunt="${CARGO_TARGET_DIR:?}/release/shunt"
rounds="${ROUNDS:-5}" tables="${TABLES:-2}" rows="${ROWS:-1000000}"
work=$(mktemp -d)
export SHUNT_CONFIG="$work/shunt.toml"
place=(--dir "$work/sandbox")

clean_up() {
    "$shunt" sandbox destroy "${place[@]}" commerce customer >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

field() { # keyspace key
    awk -v keyspace="[keyspaces.$1]" -v key="$2" \
        '$0 == keyspace {found = 1} found && $1 == key {gsub(/.*= *"|".*/, ""); print; exit}' "$SHUNT_CONFIG"
}
login() { # keyspace: options for every tool
    local address
    address=$(field "$1" address)
    echo "--host=127.0.0.1 --port=${address##*:} --user=shunt --password=$(cat "$(field "$1" password_file)")"
}
sql() { # keyspace statement
    # shellcheck disable=SC2046
    mariadb --no-defaults --protocol=TCP $(login "$1") -N -e "$2" "$1"
}
seconds() { # command…: wall seconds
    local start end
    start=$(date +%s.%N)
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
    end=$(date +%s.%N)
    echo "$end $start" | awk '{printf "%.2f", $1 - $2}'
}
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

"$shunt" sandbox start "${place[@]}" commerce customer >"$SHUNT_CONFIG" 2>/dev/null
address=$(field commerce address)
sysbench oltp_read_write --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="${address##*:}" --mysql-user=shunt \
    --mysql-password="$(cat "$(field commerce password_file)")" --mysql-db=commerce --tables="$tables" --table-size="$rows" \
    --threads=2 prepare >/dev/null

run="benches/runs/$(date +%F)-$(uname -m)-$(nproc)cpu"
mkdir -p "$run"
{
    echo "# copy of $tables x $rows sysbench rows, idle source; seconds"
    echo "# $("$shunt" --version); $(mydumper --version 2>&1 | head -1); $(mariadbd --version); $(nproc) CPUs"
    echo "# $0 with ROUNDS=$rounds TABLES=$tables ROWS=$rows"
    echo "round shunt mydumper+myloader ratio"
} >"$run/copy.txt"
for round in $(seq "$rounds"); do
    clean_target
    shunt_s=$(seconds ours)
    "$shunt" movetables cancel customer.bench >/dev/null
    clean_target
    peer_s=$(seconds peer)
    echo "$round $shunt_s $peer_s" | awk '{printf "%d %.2f %.2f %.2f\n", $1, $2, $3, $2 / $3}' | tee -a "$run/copy.txt"
done
awk '/^[0-9]/ {ratio[n++] = $4} END {
    for (i = 0; i < n; i++) for (j = i + 1; j < n; j++) if (ratio[j] < ratio[i]) {t = ratio[i]; ratio[i] = ratio[j]; ratio[j] = t}
    printf "median ratio %.2f\n", ratio[int(n / 2)]
}' "$run/copy.txt" | tee -a "$run/copy.txt"
