#!/usr/bin/env bash
# Two sysbench tables of a million rows move under oltp_read_write and oltp_write_only, by an account that may only read and
# replicate; then both sides are compared by mariadb-dump. Prints, and checks, the peak memory of the worker and how long any of
# its snapshots was open: by its own trace, and by the server's list of transactions.
set -euo pipefail
cd "$(dirname "$0")/.."

shunt="${CARGO_TARGET_DIR:?}/release/shunt"
tables="${TABLES:-2}" rows="${ROWS:-1000000}" threads="${THREADS:-4}"
memory_max_mib="${MEMORY_MAX_MIB:-256}" snapshot_max_ms="${SNAPSHOT_MAX_MS:-2000}"
work=$(mktemp -d)
export SHUNT_CONFIG="$work/shunt.toml"
place=(--dir "$work/sandbox")
workflow=customer.soak
loads=() worker="" watcher=""

clean_up() {
    for pid in "${loads[@]}" $worker $watcher; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    "$shunt" sandbox destroy "${place[@]}" commerce customer >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

field() { # keyspace key
    awk -v keyspace="[keyspaces.$1]" -v key="$2" \
        '$0 == keyspace {found = 1} found && $1 == key {gsub(/.*= *"|".*/, ""); print; exit}' "$work/admin.toml"
}
login() { # keyspace: options for every tool
    local address
    address=$(field "$1" address)
    echo "--no-defaults --protocol=TCP --host=127.0.0.1 --port=${address##*:} --user=shunt --password=$(cat "$(field "$1" password_file)")"
}
sql() { # keyspace statement
    # shellcheck disable=SC2046
    mariadb $(login "$1") -N -e "$2" "$1"
}
load() { # script [argument…]
    local address
    address=$(field commerce address)
    exec sysbench "$1" --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="${address##*:}" --mysql-user=shunt \
        --mysql-password="$(cat "$(field commerce password_file)")" --mysql-db=commerce --tables="$tables" \
        --table-size="$rows" --threads="$threads" --time=0 --report-interval=5 "${@:2}"
}
# Bit-exact also for FLOAT, which a dump prints with six digits: none of sysbench's columns is one.
dump() { # keyspace table
    # shellcheck disable=SC2046
    mariadb-dump $(login "$1") --order-by-primary --hex-blob --skip-extended-insert --no-create-info --compact "$1" "$2"
}

"$shunt" sandbox start "${place[@]}" commerce customer >"$work/admin.toml" 2>/dev/null
(load oltp_read_write --threads=2 prepare >/dev/null)
sql commerce "create user mover@'%' identified by 'of tables'; grant select on commerce.* to mover@'%';
    grant replication slave, binlog monitor on *.* to mover@'%'"
# The same configuration, with the poorer account on the source.
(umask 077 && printf 'of tables' >"$work/mover.password")
awk -v file="$work/mover.password" '/^\[keyspaces\./ {source = ($0 == "[keyspaces.commerce]")}
    source && $1 == "user" {$0 = "user = \"mover\""} source && $1 == "password_file" {$0 = "password_file = \"" file "\""} {print}' \
    "$work/admin.toml" >"$SHUNT_CONFIG"

for script in oltp_read_write oltp_write_only; do
    load "$script" run >"$work/$script.log" 2>&1 &
    loads+=($!)
done
# InnoDB renews its list of transactions for those who have not looked for a tenth of a second.
watch_snapshots() {
    while sleep 0.15; do
        sql commerce "select concat('trx ', x.trx_id, ' of ', p.id, ' ', timestampdiff(microsecond, x.trx_started, now(6)) div 1000)
            from information_schema.innodb_trx x join information_schema.processlist p on p.id = x.trx_mysql_thread_id
            where p.user = 'mover'" || true
    done
}
watch_snapshots >"$work/transactions" &
watcher=$!

"$shunt" movetables create "$workflow" --source commerce --all-tables --detach
started=$(date +%s)
SHUNT_LOG=shunt_engine=debug "$shunt" serve 2>"$work/trace" &
worker=$!
"$shunt" movetables wait "$workflow" --for running --timeout 20m
echo "running after $(($(date +%s) - started)) s under load"
sleep 5 # The stream alone, under load, counts as well.
kill "${loads[@]}"
wait "${loads[@]}" || true
loads=()
"$shunt" movetables wait "$workflow" --for caught-up --timeout 5m
tail -qn 1 "$work"/oltp_*.log
peak_mib=$(awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/$worker/status")
kill "$watcher"
wait "$watcher" 2>/dev/null || true
watcher=""

for table in $(seq "$tables"); do
    cmp <(dump commerce "sbtest$table") <(dump customer "sbtest$table")
    echo "sbtest$table: equal, $(sql customer "select count(*) from sbtest$table") rows"
done
# A duration is traced as 12.3ms, 1.2s or 950µs.
traced_ms=$(sed -nE 's/.*took=([0-9.]+)(µs|ms|s).*/\1 \2/p' "$work/trace" |
    awk '{ms = $1 * ($2 == "s" ? 1000 : $2 == "ms" ? 1 : 0.001); n++; if (ms > most) most = ms} END {printf "%d %d", n, most}')
met_ms=$(awk '{n++; if ($NF > most) most = $NF} END {printf "%d %d", n, most}' "$work/transactions")
echo "snapshots by the trace: ${traced_ms% *}, the longest ${traced_ms#* } ms; met in innodb_trx: ${met_ms% *} times, ${met_ms#* } ms at most"
echo "peak memory of the worker: $peak_mib MiB"
[ "${traced_ms% *}" -gt 10 ] && [ "${met_ms% *}" -gt 0 ]
[ "${traced_ms#* }" -le "$snapshot_max_ms" ] && [ "${met_ms#* }" -le "$snapshot_max_ms" ]
[ "$peak_mib" -le "$memory_max_mib" ]
