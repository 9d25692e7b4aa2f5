#!/usr/bin/env bash
# The main job on throw-away servers: two tables are moved from one server to another while they are written, followed, stopped
# and compared by the servers' own dump. Everything it makes is in one temporary folder, which it removes.
set -euo pipefail
cd "$(dirname "$0")/.."

shunt="${CARGO_TARGET_DIR:?}/release/shunt"
rows="${DEMO_ROWS:-500000}"
work=$(mktemp -d)
export SHUNT_CONFIG="$work/shunt.toml"
place=(--dir "$work/sandbox")
workflow=customer.commerce2customer
writer_pid="" mover_pid=""

clean_up() {
    touch "$work/stop"
    [ -z "$writer_pid" ] || wait "$writer_pid" 2>/dev/null || true
    [ -z "$mover_pid" ] || kill "$mover_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    "$shunt" sandbox destroy "${place[@]}" commerce customer >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

port_of() { # keyspace
    awk -v keyspace="[keyspaces.$1]" '$0 == keyspace {found = 1} found && /^address/ {sub(/.*:/, ""); sub(/".*/, ""); print; exit}' \
        "$SHUNT_CONFIG"
}

password_of() { # keyspace
    local file
    file=$(awk -v keyspace="[keyspaces.$1]" '$0 == keyspace {found = 1} found && /^password_file/ {gsub(/.*= *"|".*/, ""); print; exit}' \
        "$SHUNT_CONFIG")
    cat "$file"
}

client() { # keyspace [argument…]
    local keyspace=$1
    shift
    MYSQL_PWD=$(password_of "$keyspace") mariadb --no-defaults --protocol=TCP --host=127.0.0.1 \
        --port="$(port_of "$keyspace")" --user=shunt "$@" "$keyspace"
}

dump() { # keyspace table
    MYSQL_PWD=$(password_of "$1") mariadb-dump --no-defaults --protocol=TCP --host=127.0.0.1 --port="$(port_of "$1")" \
        --user=shunt --order-by-primary --hex-blob --skip-extended-insert --no-create-info --compact "$1" "$2"
}

# One statement after the other until there is a file that says stop; the pipe's end ends the client.
writes() {
    while [ ! -e "$work/stop" ]; do
        order=$((1 + (RANDOM * 32768 + RANDOM) % rows))
        echo "insert into corder (customer_id, sku, price) values (1 + $order % 5, 'SKU-1001', $RANDOM);"
        echo "update customer set email = 'user$RANDOM@domain.com' where customer_id = 1 + $order % 5;"
        echo "update corder set price = price + 1 where order_id = $order;"
        echo "delete from corder where order_id = $order + 1;"
    done | client commerce
}

say "Two throw-away MariaDB servers, each with a keyspace"
"$shunt" sandbox start "${place[@]}" commerce customer >"$SHUNT_CONFIG"
"$shunt" keyspace list

say "The sample tables, corder grown to $rows rows"
client commerce <tests/fixtures/commerce.sql
client commerce -e "insert into corder (customer_id, sku, price) select 1 + seq % 5, 'SKU-1002', seq % 100 from seq_1_to_$rows"

say "An application goes on writing; the move begins"
writes &
writer_pid=$!
"$shunt" movetables create "$workflow" --source commerce --tables customer,corder &
mover_pid=$!

until "$shunt" movetables wait "$workflow" --for running --timeout 10m 2>/dev/null; do
    kill -0 "$mover_pid" || { echo "the move ended early" >&2; exit 1; }
done
say "Copied and following, while the application writes"
"$shunt" movetables status "$workflow"

say "The application pauses; what it wrote arrives"
touch "$work/stop"
wait "$writer_pid"
writer_pid=""
"$shunt" movetables wait "$workflow" --for caught-up --timeout 5m
"$shunt" movetables progress "$workflow"

say "Both sides, by mariadb-dump"
for table in customer corder; do
    dump commerce "$table" >"$work/source.sql"
    dump customer "$table" >"$work/target.sql"
    cmp "$work/source.sql" "$work/target.sql"
    echo "$table: $(grep -c '^INSERT' "$work/source.sql") rows, equal"
done

say "Nothing was switched (the cutover is not built yet): the move is cancelled, the target cleaned"
kill -INT "$mover_pid" && wait "$mover_pid" || true
mover_pid=""
"$shunt" movetables cancel "$workflow"
