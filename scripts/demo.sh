#!/usr/bin/env bash
# The main job on throw-away servers, as in the guide: two tables are moved from one server to another while an application writes
# them through the gateway, compared by the servers' own dump, switched under these writes, and completed. An error that the
# application sees ends it. Everything it makes is in one temporary folder, which it removes.
set -euo pipefail
cd "$(dirname "$0")/.."

shunt="${CARGO_TARGET_DIR:?}/release/shunt"
rows="${DEMO_ROWS:-500000}"
work=$(mktemp -d)
export SHUNT_CONFIG="$work/shunt.toml"
place=(--dir "$work/sandbox")
workflow=customer.commerce2customer
reverse=commerce.commerce2customer_reverse
writer_pid="" serve_pid=""

clean_up() {
    touch "$work/stop"
    [ -z "$writer_pid" ] || wait "$writer_pid" 2>/dev/null || true
    [ -z "$serve_pid" ] || kill "$serve_pid" 2>/dev/null || true
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

# As the application, through the gateway.
app() { # keyspace
    MYSQL_PWD=$(cat "$app_password") mariadb --no-defaults --protocol=TCP --host=127.0.0.1 --port="$gateway_port" --user=app "$1"
}

dump() { # keyspace table
    MYSQL_PWD=$(password_of "$1") mariadb-dump --no-defaults --protocol=TCP --host=127.0.0.1 --port="$(port_of "$1")" \
        --user=shunt --order-by-primary --hex-blob --skip-extended-insert --no-create-info --compact "$1" "$2"
}

# One statement after the other until there is a file that says stop; the pipe's end ends the client, and so does an error.
writes() { # keyspace
    while [ ! -e "$work/stop" ]; do
        order=$((1 + (RANDOM * 32768 + RANDOM) % rows))
        echo "insert into corder (customer_id, sku, price) values (1 + $order % 5, 'SKU-1001', $RANDOM);"
        echo "update customer set email = 'user$RANDOM@domain.com' where customer_id = 1 + $order % 5;"
        echo "update corder set price = price + 1 where order_id = $order;"
        echo "delete from corder where order_id = $order + 1;"
    done | app "$1"
}

application_begins() { # keyspace
    rm -f "$work/stop"
    writes "$1" &
    writer_pid=$!
}

# Fails if it has seen an error.
application_ends() {
    touch "$work/stop"
    local pid=$writer_pid
    writer_pid=""
    wait "$pid"
}

say "Two throw-away MariaDB servers, each with a keyspace, and a gateway"
"$shunt" sandbox start "${place[@]}" commerce customer >"$SHUNT_CONFIG"
"$shunt" keyspace list
app_password="$work/sandbox/commerce/app.password"
# Both servers let the application in with the same password.
echo "alter user app@'%' identified by '$(cat "$app_password")'" | client customer
cat >>"$SHUNT_CONFIG" <<EOF

[gateway]
listen = "127.0.0.1:0"
[[gateway.users]]
name = "app"
password_file = "$app_password"
EOF
"$shunt" serve >"$work/serve.log" 2>&1 &
serve_pid=$!
until grep -q 'Gateway listens on .*\.$' "$work/serve.log"; do
    kill -0 "$serve_pid" || { cat "$work/serve.log" >&2; exit 1; }
    sleep 0.1
done
gateway_port=$(sed -n 's/^Gateway listens on .*:\([0-9]*\)\.$/\1/p' "$work/serve.log")

say "The sample tables, corder grown to $rows rows"
client commerce <tests/fixtures/commerce.sql
client commerce -e "insert into corder (customer_id, sku, price) select 1 + seq % 5, 'SKU-1002', seq % 100 from seq_1_to_$rows"

say "An application goes on writing through the gateway; the move begins"
application_begins commerce
"$shunt" movetables create "$workflow" --source commerce --tables customer,corder --detach
"$shunt" movetables wait "$workflow" --for running --timeout 10m
say "Copied and following, while the application writes"
"$shunt" movetables status "$workflow"

say "The application pauses; what it wrote arrives"
application_ends
"$shunt" movetables wait "$workflow" --for caught-up --timeout 5m
"$shunt" movetables progress "$workflow"

say "Both sides, by mariadb-dump"
for table in customer corder; do
    dump commerce "$table" >"$work/source.sql"
    dump customer "$table" >"$work/target.sql"
    cmp "$work/source.sql" "$work/target.sql"
    echo "$table: $(grep -c '^INSERT' "$work/source.sql") rows, equal"
done

say "The application writes again, and its tables are switched under these writes"
application_begins commerce
sleep 1
"$shunt" movetables switchtraffic "$workflow"
sleep 1
application_ends
echo "The application has seen no error."
"$shunt" movetables wait "$reverse" --for caught-up --timeout 5m
"$shunt" movetables progress "$reverse"

say "The application is told of the new keyspace, and the move is completed under its writes"
application_begins customer
"$shunt" movetables complete "$workflow"
application_ends
"$shunt" routing-rules get
"$shunt" workflow list customer
client commerce -e 'show tables'
client customer --table -e "select count(*) as orders, max(order_id) - $rows - 5 as ordered_meanwhile from corder"
