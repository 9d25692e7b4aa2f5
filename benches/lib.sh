# What the benches share: sandboxed servers in a folder that goes when they end, and files of raw numbers.
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

# Starts `commerce` and `customer`; options of `sandbox start`.
start_servers() {
    "$shunt" sandbox start "${place[@]}" "$@" commerce customer >"$SHUNT_CONFIG" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
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
sql() { # keyspace statement [server type]
    # shellcheck disable=SC2046
    mariadb --no-defaults --protocol=TCP $(login "$1" "${3:-primary}") -N -e "$2" "$1"
}
sysbench_on() { # keyspace test [options…]
    sysbench "$2" --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="$(port "$1")" --mysql-user=shunt \
        --mysql-password="$(password "$1")" --mysql-db="$1" "${@:3}"
}
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.2f", $1 - $2}'; } # a moment
seconds() { # command…: wall seconds
    local start
    start=$(now)
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
    since "$start"
}
# Opens the file of raw numbers of a bench: name, what it measures, the columns. Then `keep` adds a line.
open_results() {
    local run
    run="benches/runs/$(date +%F)-$(uname -m)-$(nproc)cpu"
    results="$run/$1.txt"
    mkdir -p "$run"
    {
        echo "# $2"
        echo "# $("$shunt" --version) ($shunt); $(mariadbd --version); $(nproc) CPUs; load $(cut -d' ' -f1-3 /proc/loadavg)"
        echo "# $0 with ROUNDS=$rounds ${settings:-}"
        echo "$3"
    } >"$results"
}
keep() { tee -a "$results"; }
median() { # column of the lines of the results that begin with a pattern
    awk -v column="$1" -v pattern="$2" '$0 ~ pattern {of[n++] = $column} END {
        for (i = 0; i < n; i++) for (j = i + 1; j < n; j++) if (of[j] < of[i]) {t = of[i]; of[i] = of[j]; of[j] = t}
        print (of[int((n - 1) / 2)] + of[int(n / 2)]) / 2}' "$results"
}
