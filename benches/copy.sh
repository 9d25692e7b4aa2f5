#!/usr/bin/env bash
# The copy of an idle source, in one run, alternating, with the same data and the same durability, all writing the target's binlog, secondary
# indexes included: shunt, mydumper + myloader (two threads each), mariadb-dump | mariadb, and the limit of the server itself: files made
# beforehand, loaded over one connection a table into tables that have only their primary key, the other indexes built afterwards, beside one
# bare client scan of each source table. Each begins when both servers are at rest. SHAPES chooses the data. Prints each round, the medians and whether the bars are met, and keeps the
# raw numbers with versions in benches/runs/: copy.txt the seconds, copy-processes.txt what each tool cost both servers and its own processes.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
shapes="${SHAPES:-sysbench narrow wide json indexes}"
rows="${ROWS:-1000000}" rows_other="${ROWS_OTHER:-200000}" rows_wide="${ROWS_WIDE:-20000}"
file_rows="${FILE_ROWS:-80000}"
settings="SHAPES='$shapes' ROWS=$rows ROWS_OTHER=$rows_other ROWS_WIDE=$rows_wide FILE_ROWS=$file_rows"
files="$work/files"

# Two tables of each shape.
fill() { # columns and keys, values of row `seq`, number of rows
    local number
    for number in 1 2; do
        sql commerce "CREATE TABLE t$number (id INT NOT NULL PRIMARY KEY, $1); INSERT INTO t$number SELECT seq, $2 FROM seq_1_to_$3"
    done
}
wide_columns() { seq -f "c%g" -s, 1 199 | sed 's/\(c[0-9]*[05]\)\b/\1 VARCHAR(20) NOT NULL/g; s/\(c[0-9]*\)\(,\|$\)/\1 INT NOT NULL\2/g'; }
wide_values() { seq -s ' ' 1 199 | sed 's/[0-9]*[05]\b/MD5(seq + &) ,/g; s/\([0-9]\) /\1 , /g; s/, *$//' | sed 's/MD5(\([^)]*\))/LEFT(MD5(\1), 12)/g'; }
shape() { # name: makes the tables, sets the number of rows of each
    each=$rows_other
    case $1 in
    sysbench)
        each=$rows
        sysbench_on commerce oltp_read_write --tables=2 --table-size="$each" --threads=2 prepare >/dev/null
        ;;
    narrow) fill "n INT NOT NULL" "seq * 7919 % 999983" "$each" ;;
    wide)
        each=$rows_wide
        fill "$(wide_columns)" "$(wide_values)" "$each"
        ;;
    json) fill "doc JSON NOT NULL, data BLOB NOT NULL" "JSON_OBJECT('id', seq, 'name', MD5(seq), 'tags', JSON_ARRAY(seq % 7, seq % 11,
        'ä\"\\\\b'), 'price', seq / 7), REPEAT(UNHEX(MD5(seq)), 24)" "$each" ;;
    indexes) fill "a INT NOT NULL, b BIGINT NOT NULL, c VARCHAR(40) NOT NULL, d DATETIME NOT NULL, e DECIMAL(12,2) NOT NULL,
        KEY (a), KEY (b), KEY (c), KEY (d, a), KEY (e)" "seq * 7919 % 999983, seq * 104729 % 15485863, MD5(seq),
        '2026-01-01' + INTERVAL seq * 7919 % 31536000 SECOND, seq * 31 % 1000003 / 100" "$each" ;;
    *) echo "there is no shape $1" >&2 && return 2 ;;
    esac
}

# What the limit needs beforehand.
prepare_limit() {
    local table first
    rm -rf "$files"
    mkdir "$files"
    mariadb_dump commerce --no-data >"$files/tables.sql"
    for table in $tables; do
        for first in $(seq 1 "$file_rows" "$each"); do
            sql commerce "SELECT * INTO OUTFILE '$files/$table.$first.rows' FROM $table WHERE id BETWEEN $first AND $((first + file_rows - 1)) ORDER BY id"
        done
        {
            echo "SET foreign_key_checks = 0;"
            find "$files" -name "$table.*.rows" | sort -t. -k2n | while read -r file; do
                echo "LOAD DATA LOCAL INFILE '$file' INTO TABLE $table CHARACTER SET binary;"
            done
            alter "$table" "CONCAT('ADD KEY ', index_name, ' (', GROUP_CONCAT(column_name ORDER BY seq_in_index), ')')"
        } >"$files/$table.sql"
        alter "$table" "CONCAT('DROP KEY ', index_name)" >>"$files/tables.sql"
    done
}
alter() { # table, what is done to each of its secondary keys
    sql commerce "SELECT $2 FROM information_schema.statistics WHERE table_schema = 'commerce' AND table_name = '$1' AND index_name <> 'PRIMARY'
        GROUP BY index_name" | paste -sd, | sed -n "s/..*/ALTER TABLE $1 &;/p"
}
mariadb_dump() { # keyspace options…
    # shellcheck disable=SC2046
    mariadb-dump --no-defaults --protocol=TCP $(login "$1") "${@:2}" "$1"
}

copy_shunt() { timed "$shunt" movetables create customer.bench --source commerce --all-tables --stop-after-copy; }
copy_mydumper() {
    # shellcheck disable=SC2046
    timed mydumper $(login commerce) --database=commerce --threads=2 --outputdir="$work/dump" --rows=100000 --trx-consistency-only &&
        timed myloader $(login customer) --database=customer --source-db=commerce --threads=2 --directory="$work/dump" --enable-binlog
}
copy_mysqldump() {
    # shellcheck disable=SC2046
    timed mariadb-dump --no-defaults --protocol=TCP $(login commerce) --single-transaction --quick commerce | timed_client customer
}
copy_limit() {
    local table pids=() pid failed=0
    for table in $tables; do
        timed_client customer --local-infile=1 <"$files/$table.sql" &
        pids+=($!)
        timed_client commerce --quick -e "SELECT * FROM $table" >/dev/null &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    return "$failed"
}
# Data and keys; a tool that cannot copy a shape is none to be compared with.
is_equal() {
    local what="SELECT table_name, index_name, seq_in_index, column_name FROM information_schema.statistics WHERE table_schema = database() ORDER BY 1, 2, 3;
        CHECKSUM TABLE ${tables// /, }"
    diff <(sql commerce "$what" | sed 's/commerce\.//') <(sql customer "$what" | sed 's/customer\.//')
}
copy() { # tool: what `measure` prints, of a copy that is right
    empty_target
    rm -rf "$work/dump"
    if [ "$1" = limit ]; then client customer <"$files/tables.sql"; fi
    rest commerce && rest customer || return 1
    measure "copy_$1" && is_equal >&2
}

start_servers --replicas 0
open_results copy-processes "copy of an idle source; seconds; CPU seconds of the tool's own processes and of both servers; CPU of the tool per row; the largest of its processes" \
    "shape round tool seconds client-cpu source-cpu target-cpu us-per-row KiB"
processes=$results
open_results copy "copy of an idle source, 2 tables of each shape; seconds; $(mydumper --version 2>&1 | head -1); $(mariadb-dump --version)" \
    "shape round shunt mydumper mysqldump limit shunt/mydumper shunt/mysqldump shunt/limit us-per-row KiB"
for shape in $shapes; do
    sql commerce "DROP DATABASE commerce; CREATE DATABASE commerce"
    shape "$shape"
    tables=$(sql commerce "SHOW TABLES" | paste -sd' ')
    prepare_limit
    for round in $(seq "$rounds"); do
        declare -A took=()
        tools="shunt mydumper mysqldump limit"
        # Every other round backwards: none always comes after the same one.
        if ((round % 2 == 0)); then tools="limit mysqldump mydumper shunt"; fi
        for tool in $tools; do
            if [ "$round" = 1 ]; then profile_begins; fi
            if ! cost=$(copy "$tool"); then
                if [ "$tool" = shunt ]; then exit 1; fi
                cost="- - - - -"
            fi
            profile_ends "copy-$shape-$tool"
            read -r seconds client_cpu source_cpu target_cpu peak <<<"$cost"
            took[$tool]=$seconds
            us=$(us_per "$client_cpu" $((2 * each)))
            echo "$shape $round $tool $seconds $client_cpu $source_cpu $target_cpu $us $peak" >>"$processes"
            if [ "$tool" = shunt ]; then
                shunt_us=$us shunt_peak=$peak
                "$shunt" movetables cancel customer.bench >/dev/null
            fi
        done
        echo "$shape $round ${took[shunt]} ${took[mydumper]} ${took[mysqldump]} ${took[limit]}" \
            "$(quotient "${took[shunt]}" "${took[mydumper]}") $(quotient "${took[shunt]}" "${took[mysqldump]}")" \
            "$(quotient "${took[shunt]}" "${took[limit]}") $shunt_us $shunt_peak" | keep
    done
done
for shape in $shapes; do
    of="^$shape "
    echo "# $shape: shunt by mydumper $(spread 7 "$of"), by mysqldump $(spread 8 "$of"), by the limit $(spread 9 "$of")" | keep
    bar "$shape: time by mydumper + myloader" "$(quotient "$(median 3 "$of")" "$(median 4 "$of")")" "at most" 0.75
    bar "$shape: time by mysqldump | mysql" "$(quotient "$(median 3 "$of")" "$(median 5 "$of")")" "at most" 0.35
    bar "$shape: time by the limit" "$(quotient "$(median 3 "$of")" "$(median 6 "$of")")" "at most" 1.15
    # What a row costs depends on its width: the bar is on the usual one.
    if [ "$shape" = sysbench ]; then bar "$shape: client CPU us per row" "$(median 10 "$of")" "at most" 1; fi
done
