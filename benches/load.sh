#!/usr/bin/env bash
# A source that is being written, at a fixed rate of transactions (sysbench oltp_write_only), and the 99th percentile of their latency in the
# same window of seconds: alone, while shunt copies at its default settings, and beside a bare client scan of the same tables, one client a
# table, which pv holds to as many rows a second as the last copy had; and beside the same scan piped into LOAD DATA on the target, which has the
# same processors: what the bare servers make of such a copy. Alternating in each round. Also: how long after
# the copy's last row its keys were built, and how long after it the lag is below a second. Prints each round, the medians and whether the bars are met, and keeps the raw
# numbers with versions in benches/runs/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
. benches/lib.sh
rows="${ROWS:-1000000}" rate="${RATE:-200}" threads="${THREADS:-8}" warm="${WARM_SECONDS:-3}"
workflow=customer.bench

start_servers --replicas 0
sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads=2 prepare >/dev/null
row_bytes=$(client commerce --quick -e "SELECT * FROM sbtest1 LIMIT 10000" | wc -c | awk '{print $1 / 10000}')

load=""
load_begins() {
    local window=${1:-}
    exec=exec sysbench_on commerce oltp_write_only --tables=2 --table-size="$rows" --threads="$threads" --rate="$rate" --time=0 --percentile=99 \
        ${window:+"--report-checkpoints=$warm,$((warm + window))"} run >"$work/load.log" 2>&1 &
    load=$!
    stays+=("$load")
    until grep -q "Threads started" "$work/load.log"; do sleep 0.1; done
    sleep "$warm"
}
load_ends() {
    kill "$load"
    wait "$load" 2>/dev/null || true
}
# Waits for the end of the window: milliseconds of the 99th percentile, transactions a second.
window_ends() {
    until grep -q "] Checkpoint report" "$work/load.log" && [ "$(grep -c "99th percentile" "$work/load.log")" = 2 ]; do
        kill -0 "$load" || { cat "$work/load.log" >&2; return 1; }
        sleep 0.1
    done
    awk '/transactions:/ {gsub(/\(/, ""); tps = $3} /99th percentile/ {p99 = $3} END {print p99, tps}' "$work/load.log"
}

# Under the load that has begun: sets copied_s, rows_per_s, keys_s, settled_s, us, peak.
copy_begins() {
    "$shunt" movetables create "$workflow" --source commerce --all-tables >"$work/copy.log" 2>&1 &
    worker=$!
    stays+=("$worker")
    copy_began=$(now)
    until grep -q "was created" "$work/copy.log"; do
        kill -0 "$worker" || { cat "$work/copy.log" >&2; return 1; }
        sleep 0.05
    done
}
copy_ends() {
    local end
    # These look at the target now and then: the percentile is not theirs.
    "$shunt" movetables wait "$workflow" --for copied --timeout 1h >/dev/null
    copied_s=$(since "$copy_began") end=$(now)
    us=$(us_per "$(cpu_of "$worker")" $((2 * rows)))
    rows_per_s=$(echo "$rows $copied_s" | awk '{printf "%d", 2 * $1 / $2}')
    "$shunt" movetables wait "$workflow" --for running --timeout 1h >/dev/null
    keys_s=$(since "$end")
    until "$shunt" movetables status "$workflow" --format json | grep -qE '"LagMs": [0-9]{1,3},'; do sleep 0.1; done
    settled_s=$(since "$end") peak=$(peak_of "$worker")
    load_ends
    "$shunt" movetables wait "$workflow" --for caught-up --timeout 5m >/dev/null
    must_be_equal "sbtest1, sbtest2" "customer primary"
    stop_worker
    "$shunt" movetables cancel "$workflow" >/dev/null
    empty_target
}
alone() {
    load_begins "$window"
    alone=$(window_ends)
    load_ends
}
copy() {
    load_begins "$window"
    copy_begins
    copy=$(window_ends)
    copy_ends
    if [ "${copied_s%.*}" -lt "$window" ]; then echo "# the next round's copy took $copied_s s, less than its window" | keep; fi
}
# Sets p99_and_tps.
beside_scans() { # what, what takes a table's rows
    local table scans=() each
    load_begins "$window"
    each=$(echo "$rows_per_s $row_bytes" | awk '{printf "%d", $1 * $2 / 2}')
    for table in sbtest1 sbtest2; do
        client commerce --quick -e "SELECT * FROM $table" | pv -q -L "$each" | "$2" "$table" &
        scans+=($!)
    done
    p99_and_tps=$(window_ends)
    load_ends
    for table in "${scans[@]}"; do
        kill -0 "$table" 2>/dev/null || echo "# the next round's $1 ended within its window" | keep
        wait "$table"
    done
}
drops() { cat >/dev/null; }
loads() { client customer --local-infile=1 -e "LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE $1 CHARACTER SET binary"; }
scan() {
    beside_scans scan drops
    scan=$p99_and_tps
}
pipe() {
    # shellcheck disable=SC2046
    mariadb-dump --no-defaults --protocol=TCP $(login commerce) --no-data commerce | client customer
    beside_scans pipe loads
    pipe=$p99_and_tps
    empty_target
}

# Not kept: how long a copy takes under this load. The window is a part of that.
load_begins
copy_begins
copy_ends
window="${WINDOW_SECONDS:-$(echo "$copied_s" | awk '{seconds = int($1 * 0.7); print seconds < 1 ? 1 : seconds}')}"
settings="ROWS=$rows RATE=$rate THREADS=$threads WARM_SECONDS=$warm WINDOW_SECONDS=$window"
open_results load "2 tables of $rows sysbench rows under $rate write transactions/s: their p99 in ms (and how many a second there were) alone, while shunt copies, \
beside a plain scan of as many rows/s, beside that scan piped into LOAD DATA on the target; seconds" \
    "round alone copy scan pipe copy/alone scan/alone copy/scan copy/pipe alone-tps copy-tps scan-tps pipe-tps copied-s rows/s keys-s settled-s us-per-row KiB"
for round in $(seq "$rounds"); do
    if ((round % 2)); then order="alone copy scan pipe"; else order="pipe copy scan alone"; fi
    for what in $order; do
        rest commerce && rest customer
        "$what"
    done
    echo "${alone% *} ${copy% *} ${scan% *} ${pipe% *} ${alone#* } ${copy#* } ${scan#* } ${pipe#* }" |
        awk -v round="$round" -v rest="$copied_s $rows_per_s $keys_s $settled_s $us $peak" \
            '{printf "%d %s %s %s %s %.2f %.2f %.2f %.2f %s %s %s %s %s\n", round, $1, $2, $3, $4, $2 / $1, $3 / $1, $2 / $3, $2 / $4, $5, $6, $7, $8, rest}' | keep
done
of="^[0-9]"
echo "# p99: copy by alone $(spread 6 "$of"), scan by alone $(spread 7 "$of"), copy by scan $(spread 8 "$of"), by that piped into the target $(spread 9 "$of")" | keep
bar "the source's p99 while copying by that beside a plain scan" "$(quotient "$(median 3 "$of")" "$(median 4 "$of")")" "at most" 1
bar "seconds after the copy's last row until the keys are built and the lag is below 1 s, the worst" "$(numbers 17 "$of" | tail -1)" "at most" 5
