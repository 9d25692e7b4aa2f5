#!/usr/bin/env bash
# Clients through shunt's gateway beside HAProxy (TCP) and beside direct connections, alternating, in one run: prepared point selects, prepared
# writes, and big results. Prints each round and the median ratios, and keeps the raw numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-100000}" threads="${THREADS:-8}" seconds="${SECONDS_EACH:-5}"
# Five times the table, so that it takes long enough to be measured.
big_query="SELECT STRAIGHT_JOIN sbtest1.* FROM seq_1_to_5, sbtest1"
settings="ROWS=$rows THREADS=$threads SECONDS_EACH=$seconds"
command -v haproxy >/dev/null || { echo "install haproxy (Debian's package) first" >&2; exit 2; }

start_servers --replicas 0
sysbench_on commerce oltp_point_select --tables=1 --table-size="$rows" prepare >/dev/null
cat >>"$SHUNT_CONFIG" <<TOML
[gateway]
listen = "127.0.0.1:0"
[[gateway.users]]
name = "shunt"
password_file = "$(field commerce password_file)"
TOML
"$shunt" gateway >"$work/gateway.log" 2>&1 &
stays+=($!)
until grep -q "listens on" "$work/gateway.log"; do sleep 0.1; done
gateway_port=$(sed -n 's/.*listens on .*:\([0-9]*\)\.$/\1/p' "$work/gateway.log")
haproxy_port=$((gateway_port + 1))
cat >"$work/haproxy.cfg" <<CFG
global
    nbthread 2
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen mysql
    bind 127.0.0.1:$haproxy_port
    server primary 127.0.0.1:$(port commerce)
CFG
haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
stays+=($!)
until (exec 3<>"/dev/tcp/127.0.0.1/$haproxy_port") 2>/dev/null; do sleep 0.1; done

per_second() { # port test [options…]: transactions a second
    sysbench "$2" --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="$1" --mysql-user=shunt \
        --mysql-password="$(password commerce)" --mysql-db=commerce --mysql-ssl=off --tables=1 --table-size="$rows" \
        --threads="$threads" --time="$seconds" "${@:3}" run >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
    sed -n 's/.*transactions: .*(\([0-9.]*\) per sec.*/\1/p' "$work/log"
}
big() { # port: MB/s of one client's big result
    local start bytes
    start=$(now)
    bytes=$(MYSQL_PWD=$(password commerce) mariadb --no-defaults --protocol=TCP --host=127.0.0.1 --port="$1" --user=shunt --quick -N \
        -e "$big_query" commerce | wc -c) || return 1
    echo "$bytes $(since "$start")" | awk '{printf "%.1f", $1 / 1e6 / $2}'
}
measure() { # kind port
    case $1 in
    select) per_second "$2" oltp_point_select ;;
    write) per_second "$2" oltp_update_index ;;
    big) big "$2" ;;
    esac
}

declare -A ports=([shunt]=$gateway_port [haproxy]=$haproxy_port [direct]=$(port commerce))
open_results gateway "transactions/s (big: MB/s of one client); ratios by haproxy and by direct" "kind round shunt haproxy direct by-haproxy by-direct"
for round in $(seq "$rounds"); do
    for kind in select write big; do
        declare -A of=()
        # Every other round backwards: none always comes after the same one.
        ways="shunt haproxy direct"
        if ((round % 2 == 0)); then ways="direct haproxy shunt"; fi
        for way in $ways; do
            rest commerce
            of[$way]=$(measure "$kind" "${ports[$way]}")
        done
        echo "$kind $round ${of[shunt]} ${of[haproxy]} ${of[direct]}" | awk '{printf "%s %d %s %s %s %.2f %.2f\n", $1, $2, $3, $4, $5, $3 / $4, $3 / $5}' | keep
    done
done
for kind in select write big; do
    echo "# $kind: $(spread 6 "^$kind ") of haproxy, $(spread 7 "^$kind ") of direct" | keep
    bar "$kind: by haproxy" "$(quotient "$(median 3 "^$kind ")" "$(median 4 "^$kind ")")" "at least" 0.75
done
