#!/usr/bin/env bash
# What a copy costs as the work grows: 16 times the rows, and 100 tables beside one, with the peak memory and the CPU seconds of the client.
# Prints each round and the median ratios, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
small="${SMALL:-100000}" tables="${TABLES:-100}"
large=$((small * 16)) one=$((small * 10)) each=$((small * 10 / tables))
settings="SMALL=$small TABLES=$tables"

start_servers
fill() { # prefix tables rows
    local number
    for number in $(seq "$2"); do
        echo "CREATE TABLE $1$number (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k));
            INSERT INTO $1$number SELECT seq, seq * 7919 % 999983, REPEAT(MD5(seq), 3), MD5(seq + 1) FROM seq_1_to_$3;"
    done | mariadb --no-defaults --protocol=TCP $(login commerce) commerce
}
fill small 1 "$small"
fill large 1 "$large"
fill one 1 "$one"
fill many "$tables" "$each"
names() { # prefix tables
    seq -f "$1%g" -s, "$2"
}
copy() { # prefix tables: seconds, KiB, CPU seconds
    local start took
    sql customer "drop database customer; create database customer"
    sql customer "reset master"
    start=$(now)
    /usr/bin/time -f "%M %U %S" -o "$work/time" "$shunt" movetables create customer.bench --source commerce --tables "$(names "$1" "$2")" --stop-after-copy \
        >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
    took=$(since "$start")
    "$shunt" movetables cancel customer.bench >/dev/null
    awk -v took="$took" '{printf "%s %s %.2f\n", took, $1, $2 + $3}' "$work/time"
}

open_results scaling "a copy as the work grows; seconds, peak KiB, CPU seconds of the client" "what round seconds KiB cpu us-per-row"
for round in $(seq "$rounds"); do
    for what in "small 1 $small" "large 1 $large" "one 1 $one" "many $tables $one"; do
        read -r prefix count total <<<"$what"
        echo "$prefix $round $(copy "$prefix" "$count")" | awk -v rows="$total" '{printf "%s %.2f\n", $0, $5 * 1e6 / rows}' | keep
    done
done
echo "# 16 times the rows: $(echo "$(median 3 '^large ') $(median 3 '^small ')" | awk '{printf "%.1f", $1 / $2}') times the time" | keep
echo "# $tables tables: $(echo "$(median 3 '^many ') $(median 3 '^one ')" | awk '{printf "%.2f", $1 / $2}') of one table's time" | keep
