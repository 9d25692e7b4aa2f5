#!/usr/bin/env bash
# How long writes are held up when the traffic is switched to and fro, with one `serve` that is the gateway too and a light load of writes through
# it: the pause that the command reports, and the longest that a statement of the load took in the seconds around it, beside two round trips
# through the same gateway, medians over one session: a bare SELECT 1, and a durable commit (a switch consists of some of these). The newest
# binlog file of both servers is as large as those in use are: a MariaDB server that is asked for a GTID's place in it reads it from its start.
# Prints each switch, the medians and whether the bars are met, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-100000}" rate="${RATE:-50}" threads="${THREADS:-4}" look="${LOOK_SECONDS:-3}" binlog="${BINLOG_MIB:-500}"
settings="BINLOG_MIB=$binlog ROWS=$rows RATE=$rate THREADS=$threads LOOK_SECONDS=$look"
workflow=customer.bench reverse=commerce.bench_reverse

start_servers --replicas 0
sysbench_on commerce oltp_update_index --tables=2 --table-size="$rows" --threads=2 prepare >/dev/null
for keyspace in commerce customer; do
    # 2,000 rows of 512 bytes make a MiB.
    sql "$keyspace" "CREATE DATABASE other; CREATE TABLE other.rows (id INT NOT NULL PRIMARY KEY, c CHAR(250) CHARACTER SET latin1 NOT NULL,
        d CHAR(250) CHARACTER SET latin1 NOT NULL) SELECT seq AS id, REPEAT('c', 250) AS c, REPEAT('d', 250) AS d FROM seq_1_to_$((binlog * 2000));
        DROP TABLE other.rows"
done
app_password="$work/sandbox/commerce/app.password"
# Both servers let the application in with the same password.
sql customer "ALTER USER app@'%' IDENTIFIED BY '$(cat "$app_password")'"
cat >>"$SHUNT_CONFIG" <<TOML
[gateway]
listen = "127.0.0.1:0"
[[gateway.users]]
name = "app"
password_file = "$app_password"
TOML
start_worker
until grep -q 'Gateway listens on .*\.$' "$work/serve.log"; do
    kill -0 "$worker" || { cat "$work/serve.log" >&2; exit 1; }
    sleep 0.1
done
gateway_port=$(sed -n 's/^Gateway listens on .*:\([0-9]*\)\.$/\1/p' "$work/serve.log")
through_gateway() { # test [options…]
    ${exec:-} sysbench "$1" --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="$gateway_port" --mysql-user=app --mysql-password="$(cat "$app_password")" \
        --mysql-db=commerce --mysql-ssl=off --tables=2 --table-size="$rows" "${@:2}" run
}
cat >"$work/select1.lua" <<'LUA'
function thread_init() connection = sysbench.sql.driver():connect() end
function event() connection:query("SELECT 1") end
LUA
round_trip() { # test: median in ms over one session
    quietly through_gateway "$1" --threads=1 --time=2 --percentile=50 || return 1
    awk '/50th percentile/ {print $3}' "$work/log"
}

quietly "$shunt" movetables create "$workflow" --source commerce --all-tables --detach
"$shunt" movetables wait "$workflow" --for running --timeout 1h >/dev/null
# The slowest statement of each second.
exec=exec through_gateway oltp_update_index --threads="$threads" --rate="$rate" --time=0 --report-interval=1 --percentile=100 >"$work/load.log" 2>&1 &
load=$!
stays+=("$load")
sleep "$look"

slowest() { # first line of the load's log
    tail -n "+$1" "$work/load.log" | sed -n 's/.*lat (ms,100%): \([0-9.]*\).*/\1/p' | sort -g | tail -1
}
switch() { # verb, workflow that leads back afterwards: pause, slowest statement
    local line
    line=$(($(wc -l <"$work/load.log") + 1))
    quietly "$shunt" movetables "$1" "$workflow" --format json || return 1
    sleep "$look"
    kill -0 "$load" || { cat "$work/load.log" >&2; return 1; }
    "$shunt" movetables wait "$2" --for caught-up --timeout 5m >/dev/null
    echo "$(sed -n 's/.*"pause_ms": \([0-9]*\).*/\1/p' "$work/log") $(slowest "$line")"
}

open_results pause "the write pause of a switch in ms, as reported, and the slowest statement of the load in these seconds; beside round trips of one session through the gateway" \
    "kind round pause-ms slowest-ms before-ms select1-ms commit-ms pause/select1 pause/commit"
for round in $(seq "$rounds"); do
    for verb in switchtraffic reversetraffic; do
        if [ "$verb" = switchtraffic ]; then back=$reverse; else back=$workflow; fi
        select1=$(round_trip "$work/select1.lua")
        commit=$(round_trip oltp_update_index)
        line=$(($(wc -l <"$work/load.log") + 1))
        sleep "$look"
        before=$(slowest "$line")
        paused=$(switch "$verb" "$back")
        read -r pause slowest <<<"$paused"
        echo "$verb $round $pause $slowest $before $select1 $commit $(quotient "$pause" "$select1") $(quotient "$pause" "$commit")" | keep
    done
done
of="traffic "
echo "# pause $(spread 3 "$of") ms: $(spread 8 "$of") times a SELECT 1, $(spread 9 "$of") times a durable commit" | keep
# What a client may wait at a switch.
bar "slowest statement around a switch, median, ms" "$(median 4 "$of")" "at most" 150
bar "slowest statement around a switch, the worst, ms" "$(numbers 4 "$of" | tail -1)" "at most" 500
