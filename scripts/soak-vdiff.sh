#!/usr/bin/env bash
# Twenty VDiffs of two sysbench tables that are being written: no false alarm. Then three that are killed at a random moment and
# resumed by `shunt serve`. Prints a line a VDiff; fails at the first that differs.
set -euo pipefail

shunt="${SHUNT:-${CARGO_TARGET_DIR:?}/release/shunt}" rows="${ROWS:-1000000}" rounds="${ROUNDS:-20}"
work=$(mktemp -d)
export SHUNT_CONFIG="$work/shunt.toml"
place=(--dir "$work/sandbox")

clean_up() {
    kill "${load:-}" "${serve:-}" 2>/dev/null || true
    "$shunt" sandbox destroy "${place[@]}" commerce customer >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

field() { # the first value of a key
    sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$SHUNT_CONFIG" | head -1
}
result() { # uuid: one line
    "$shunt" vdiff show customer.soak "$1" | grep -E '"(State|RowsCompared|HasMismatch)"' | tr -d '\n '
}

"$shunt" sandbox start "${place[@]}" commerce customer >"$SHUNT_CONFIG" 2>/dev/null
address=$(field address)
login=(--db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="${address##*:}" --mysql-user=shunt --mysql-db=commerce
    --mysql-password="$(cat "$(field password_file)")" --tables=2 --table-size="$rows")
sysbench oltp_read_write "${login[@]}" --threads=2 prepare >/dev/null
"$shunt" movetables create customer.soak --source commerce --tables sbtest1,sbtest2 --detach >/dev/null 2>&1
"$shunt" serve >"$work/serve.log" 2>&1 &
serve=$!
"$shunt" movetables wait customer.soak --for running --timeout 10m
sysbench oltp_write_only "${login[@]}" --threads=1 --rate="${RATE:-150}" --time=0 run >"$work/load.log" 2>&1 &
load=$!

for round in $(seq "$rounds"); do
    strength=fast
    [ $((round % 2)) = 0 ] && strength=strong
    "$shunt" vdiff create customer.soak --wait --strength "$strength" >"$work/vdiff.log" 2>&1 || { cat "$work/vdiff.log"; exit 1; }
    echo "$round $strength $(result last)"
done
for _ in 1 2 3; do
    uuid=$(cat /proc/sys/kernel/random/uuid)
    "$shunt" vdiff create customer.soak "$uuid" --strength strong --auto-start=false >/dev/null
    kill -STOP "$serve"
    "$shunt" vdiff resume customer.soak "$uuid" --wait >/dev/null 2>&1 &
    victim=$!
    sleep "1.$((RANDOM % 9))"
    kill -9 "$victim" 2>/dev/null || true
    kill -CONT "$serve"
    killed=$(result "$uuid")
    until "$shunt" vdiff show customer.soak "$uuid" | grep -q '"State": "completed"'; do sleep 0.5; done
    echo "killed at $killed, then $(result "$uuid")"
done
