# What the benches share: sandboxed servers in a folder that goes when they end, what a command costs its own processes and both
# servers, and files of raw numbers with their medians and bars.
# shellcheck shell=bash

shunt="${SHUNT:-${CARGO_TARGET_DIR:?}/release/shunt}"
rounds="${ROUNDS:-5}"
work=$(mktemp -d)
export SHUNT_CONFIG="$work/shunt.toml" XDG_STATE_HOME="$work/state"
place=(--dir "$work/sandbox")
# Processes that end with the bench.
stays=()

clean_up() {
    local pid
    for pid in "${stays[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    "$shunt" sandbox destroy "${place[@]}" commerce customer >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

# Starts `commerce`, with options of `sandbox start`, and `customer`, without: replicas of the target would take processors that no replica of the
# source has to share, and one that stands still would hold up a copy.
start_servers() {
    quietly "$shunt" sandbox start "${place[@]}" "$@" commerce
    quietly "$shunt" sandbox start "${place[@]}" customer
    # As they are; for the configuration of both.
    "$shunt" sandbox start "${place[@]}" commerce customer >"$SHUNT_CONFIG" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

field() { # keyspace key [server type]
    awk -v keyspace="[keyspaces.$1]" -v key="$2" -v type="\"${3:-primary}\"" \
        '$0 == keyspace {found = 1} found && $1 == "type" {right = ($3 == type)}
         found && right && $1 == key {gsub(/.*= *"|".*/, ""); print; exit}' "$SHUNT_CONFIG"
}
port() { # keyspace [server type]
    local address
    address=$(field "$1" address "${2:-primary}")
    echo "${address##*:}"
}
password() { cat "$(field "$1" password_file)"; } # keyspace
login() { # keyspace [server type]: options for every tool
    echo "--host=127.0.0.1 --port=$(port "$1" "${2:-primary}") --user=shunt --password=$(password "$1")"
}
client() { # keyspace options…: mariadb on its primary, in its database
    # shellcheck disable=SC2046
    mariadb --no-defaults --protocol=TCP $(login "$1") -N "${@:2}" "$1"
}
sql() { # keyspace statement [server type]
    # shellcheck disable=SC2046
    mariadb --no-defaults --protocol=TCP $(login "$1" "${3:-primary}") -N -e "$2" "$1"
}
empty_target() {
    sql customer "DROP DATABASE customer; CREATE DATABASE customer"
    sql customer "RESET MASTER"
}
# Waits until a server is done with what it was asked before: what it has to purge and to write to its files would share the processors with
# whoever is measured next, and leave it less of the log.
rest() { # keyspace [server type]
    local before left=1000000000 still=0
    sql "$1" "SET GLOBAL innodb_max_purge_lag_wait = 100; SET GLOBAL innodb_max_dirty_pages_pct = 0" "${2:-primary}"
    # Some pages stay: until no more have been written for two looks.
    while [ "$left" -gt 100 ] && [ "$still" -lt 2 ]; do
        before=$left
        left=$(dirty_pages "$@")
        if [ "$left" -lt "$before" ]; then still=0; else still=$((still + 1)); fi
        sleep 0.5
    done
    sql "$1" "SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT" "${2:-primary}"
}
dirty_pages() { # keyspace [server type]
    sql "$1" "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'" "${2:-primary}"
}
# Who says that it has all has all of it. All are asked, so that what comes next finds the same pages in the memory of each.
must_be_equal() { # tables of commerce, "keyspace type" of each server that must have them, too
    local sums="CHECKSUM TABLE $1" here there server
    here=$(sql commerce "$sums" | cut -f2)
    for server in "${@:2}"; do
        # shellcheck disable=SC2086
        there=$(sql ${server% *} "$sums" ${server#* } | cut -f2)
        [ "$here" = "$there" ] || { echo "the tables differ on $server: $here, there $there" >&2; return 1; }
    done
}
parallel_replica() { # server type, mode: of a replica of commerce
    sql commerce "STOP SLAVE; SET GLOBAL slave_parallel_threads = 4, slave_parallel_mode = '$2', slave_domain_parallel_threads = 0;
        SET GLOBAL slave_parallel_max_queued = 16777216; START SLAVE" "$1"
}
worker=""
start_worker() {
    "$shunt" serve >"$work/serve.log" 2>&1 &
    worker=$!
    stays+=("$worker")
}
stop_worker() {
    kill "$worker"
    wait "$worker" || true
}
# In the background with `exec=exec`, or its shell would be killed in its place, and it would go on.
sysbench_on() { # keyspace test [options…]
    ${exec:-} sysbench "$2" --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="$(port "$1")" --mysql-user=shunt \
        --mysql-password="$(password "$1")" --mysql-db="$1" "${@:3}"
}
quietly() { # command…: shows what it says only if it fails
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.3f", $1 - $2}'; } # a moment
seconds() { # command…: wall seconds
    local start
    start=$(now)
    quietly "$@" || return 1
    since "$start"
}

pid_of() { # keyspace [server]
    "$shunt" sandbox status "${place[@]}" "$1" | awk -v server="${2:-primary}" '$2 == server {print $4}'
}
cpu_of() { # pid: CPU seconds until now, of all its threads
    awk -v hertz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print ($12 + $13) / hertz}' "/proc/$1/stat"
}
peak_of() { awk '/^VmHWM/ {print $2}' "/proc/$1/status"; } # pid: KiB
# Runs one process of a client that is measured.
timed() { /usr/bin/time --quiet --append --format "%U %S %M" --output "$work/processes" "$@"; }
timed_client() { # keyspace options…
    # shellcheck disable=SC2046
    timed mariadb --no-defaults --protocol=TCP $(login "$1") -N "${@:2}" "$1"
}
# Runs a command whose processes are started by `timed`; a function joins its steps by &&. Prints, with spaces: wall seconds, CPU seconds
# of the client's processes, of the source, of the target, and the peak KiB of the largest of these processes.
measure() { # command…
    local start source target took
    : >"$work/processes"
    source=$(cpu_of "$(pid_of commerce)") target=$(cpu_of "$(pid_of customer)")
    start=$(now)
    quietly "$@" || return 1
    took=$(since "$start")
    source="$(cpu_of "$(pid_of commerce)") $source" target="$(cpu_of "$(pid_of customer)") $target"
    echo "$took $source $target" | cat - "$work/processes" | awk '
        NR == 1 {took = $1; source = $2 - $3; target = $4 - $5; next}
        {cpu += $1 + $2; if ($3 > peak) peak = $3}
        END {printf "%s %.2f %.2f %.2f %d\n", took, cpu, source, target, peak}'
}
# Where all processes' time goes from `profile_begins` to `profile_ends`, by function, in a file of its own beside the raw numbers; nothing
# where perf is not there or may not. A sample every 5 ms costs nothing that could be seen.
recorder=""
profile_begins() {
    if ! perf record --quiet --all-cpus --output "$work/perf" true >/dev/null 2>&1; then return; fi
    perf record --quiet --freq 199 --all-cpus --output "$work/perf" >/dev/null 2>&1 &
    recorder=$!
}
profile_ends() { # name
    if [ -z "$recorder" ]; then return; fi
    kill -INT "$recorder"
    wait "$recorder" || true
    recorder=""
    {
        echo "# $1: samples of all processors: process, program, function (of a stripped program its address)"
        perf report --input "$work/perf" --stdio --sort comm,dso,symbol 2>/dev/null | sed -n 's/^ *\([0-9.]*%.*[^ -]\)[ -]*$/\1/p' | awk 'NR <= 60'
    } >"$run/profile-$1.txt"
}
us_per() { # CPU seconds, number of rows: microseconds, or `-`
    echo "$1 $2" | awk '{if ($1 == "-" || $2 == 0) print "-"; else printf "%.2f\n", $1 * 1e6 / $2}'
}

# Where the raw numbers of this run go; `run.sh` sets it for all.
run="${RUN_DIR:-benches/runs/$(date +%F)-$(uname -m)-$(nproc)cpu}"
# Opens the file of raw numbers of a bench: name, what it measures, the columns. Then `keep` adds a line, of the file opened last.
open_results() {
    results="$run/$1.txt"
    mkdir -p "$run"
    {
        echo "# $2"
        echo "# $("$shunt" --version) ($shunt); $(mariadbd --version); $(nproc) CPUs; load $(cut -d' ' -f1-3 /proc/loadavg)"
        echo "# $0 with ROUNDS=$rounds ${settings:-}"
        echo "$3"
    } >"$results"
    tail -1 "$results"
}
keep() { tee -a "$results"; }
# Of the lines of the results that begin with a pattern; where there is no number, `-`.
numbers() { # column pattern
    awk -v column="$1" -v pattern="$2" '$0 !~ /^#/ && $0 ~ pattern && $column ~ /^[0-9.]+$/ {print $column}' "$results" | sort -g
}
median() { # column pattern
    numbers "$@" | awk '{of[NR] = $1} END {if (!NR) print "-"; else print (of[int((NR + 1) / 2)] + of[int(NR / 2) + 1]) / 2}'
}
spread() { # column pattern: median (least to most)
    echo "$(median "$@") ($(numbers "$@" | sed -n '1p;$p' | paste -sd' ' | sed 's/ / to /'))"
}
quotient() { # number number: with two digits, or `-`
    echo "$1 $2" | awk '{if ($1 == "-" || $2 + 0 == 0) print "-"; else printf "%.2f\n", $1 / $2}'
}
# Says whether a bar is met. A bar is on the ratio of two medians of one run, or on a quantity that knows its limit.
bar() { # what, number, "at most" or "at least", limit
    awk -v what="$1" -v number="$2" -v way="$3" -v limit="$4" 'BEGIN {
        if (number == "-") verdict = "not measured"
        else if (way == "at most") verdict = number + 0 <= limit + 0 ? "met" : "MISSED"
        else verdict = number + 0 >= limit + 0 ? "met" : "MISSED"
        printf "# %s: %s, %s %s: %s\n", what, number, way, limit, verdict}' | keep
}
