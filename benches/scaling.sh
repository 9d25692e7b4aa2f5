#!/usr/bin/env bash
# What a copy costs as the work grows: 4 and 16 times the rows, 100 tables beside one; then, at the same number of rows, more columns, wider rows,
# and other keys. Seconds, CPU seconds of the client and of both servers, and the client's peak memory. Prints each round, the medians and
# whether the bars are met, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
small="${SMALL:-100000}" tables="${TABLES:-100}" shape_rows="${SHAPE_ROWS:-200000}"
medium=$((small * 4)) large=$((small * 16)) one=$((small * 10)) each=$((small * 10 / tables))
settings="SMALL=$small TABLES=$tables SHAPE_ROWS=$shape_rows"
shapes="columns-10 columns-50 columns-200 bytes-50 bytes-500 bytes-2000 key-int key-composite key-varchar key-binary"

start_servers --replicas 0
fill() { # table, columns and keys, values of row `seq`, number of rows
    echo "CREATE TABLE $1 ($2); INSERT INTO $1 SELECT $3 FROM seq_1_to_$4;"
}
usual() { # prefix tables rows
    local number
    for number in $(seq "$2"); do
        fill "$1$number" "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k)" \
            "seq, seq * 7919 % 999983, REPEAT(MD5(seq), 3), MD5(seq + 1)" "$3"
    done
}
shape() { # name: the table of this name, with _ for -
    local what=${1#*-} columns values
    case $1 in
    columns-*)
        columns=$(seq -f "c%g INT NOT NULL" -s, 2 "$what") values=$(seq -f "seq * %g" -s, 2 "$what")
        fill "${1//-/_}" "id INT NOT NULL PRIMARY KEY, $columns" "seq, $values" "$shape_rows"
        ;;
    bytes-*) fill "${1//-/_}" "id INT NOT NULL PRIMARY KEY, c VARCHAR($what) NOT NULL" "seq, LEFT(REPEAT(MD5(seq), $what / 32 + 1), $what)" "$shape_rows" ;;
    key-int) keyed "$1" "id INT NOT NULL PRIMARY KEY" "seq" ;;
    key-composite) keyed "$1" "a INT NOT NULL, b DATE NOT NULL, c INT NOT NULL, PRIMARY KEY (a, b, c)" "seq % 1000, '2026-01-01' + INTERVAL seq % 365 DAY, seq" ;;
    # In an order that is not that of the bytes.
    key-varchar) keyed "$1" "id VARCHAR(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY" "CONCAT(IF(seq % 2, 'É', 'e'), MD5(seq))" ;;
    key-binary) keyed "$1" "id BINARY(16) PRIMARY KEY" "UNHEX(MD5(seq))" ;;
    esac
}
keyed() { # name, key, its values
    fill "${1//-/_}" "$2, n INT NOT NULL, t VARCHAR(100) NOT NULL" "$3, seq, REPEAT(MD5(seq), 3)" "$shape_rows"
}
{
    usual small 1 "$small"
    usual medium 1 "$medium"
    usual large 1 "$large"
    usual one 1 "$one"
    usual many "$tables" "$each"
    for name in $shapes; do shape "$name"; done
} | client commerce
names() { # prefix tables
    seq -f "$1%g" -s, "$2"
}
copy() { timed "$shunt" movetables create customer.bench --source commerce --tables "$1" --stop-after-copy; }
kept() { # name round tables rows
    local cost client_cpu
    empty_target
    rest commerce && rest customer
    cost=$(measure copy "$3")
    read -r _ client_cpu _ <<<"$cost"
    must_be_equal "$3" "customer primary"
    "$shunt" movetables cancel customer.bench >/dev/null
    echo "$1 $2 $cost $(us_per "$client_cpu" "$4")" | keep
}

open_results scaling "a copy as the work grows: $small rows, 4 and 16 times that, $one rows in one table and in $tables; $shape_rows rows of each other kind; \
seconds, CPU seconds of client, source and target, the client's peak" "what round seconds client-cpu source-cpu target-cpu KiB us-per-row"
for round in $(seq "$rounds"); do
    order="small medium large one many $shapes"
    # Every other round backwards: none always comes after the same one.
    if ((round % 2 == 0)); then order=$(tr ' ' '\n' <<<"$order" | tac); fi
    for name in $order; do
        case $name in
        small | medium | large | one) kept "$name" "$round" "${name}1" "${!name}" ;;
        many) kept many "$round" "$(names many "$tables")" "$one" ;;
        *) kept "$name" "$round" "${name//-/_}" "$shape_rows" ;;
        esac
    done
done
bar "4 times the rows, time" "$(quotient "$(median 3 '^medium ')" "$(median 3 '^small ')")" "at most" 4.25
bar "16 times the rows, time" "$(quotient "$(median 3 '^large ')" "$(median 3 '^small ')")" "at most" 17
# Without what every copy costs once. 4 is linear; the servers' part of it is not where a table outgrows their memory (256 MiB: the largest does).
of_12=$(echo "$(median 3 '^large ') $(median 3 '^medium ')" | awk '{print $1 - $2}') of_3=$(echo "$(median 3 '^medium ') $(median 3 '^small ')" | awk '{print $1 - $2}')
echo "# from 4 to 16 times the rows by from 1 to 4 times: $(quotient "$of_12" "$of_3") (linear: 4)" | keep
bar "16 times the rows, client CPU" "$(quotient "$(median 4 '^large ')" "$(median 4 '^small ')")" "at most" 17
bar "$tables tables by one, time" "$(quotient "$(median 3 '^many ')" "$(median 3 '^one ')")" "at most" 1.3
# Flat: what the client holds depends on its limits, not on how much there is to copy, once there is enough to reach them.
bar "16 times the rows by 4 times, peak memory" "$(quotient "$(median 7 '^large ')" "$(median 7 '^medium ')")" "at most" 1.25
bar "$tables tables by one, peak memory" "$(quotient "$(median 7 '^many ')" "$(median 7 '^one ')")" "at most" 1.25
bar "client CPU us per row" "$(median 8 '^large ')" "at most" 1
for name in $shapes; do
    echo "# $name: $(spread 3 "^$name ") s, $(median 8 "^$name ") us per row, $(median 7 "^$name ") KiB" | keep
done
