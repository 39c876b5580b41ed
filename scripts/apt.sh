# Debian packages, as root or through sudo: read by the scripts beside it, not run.
# shellcheck shell=bash

fail() {
    echo "${0#"$PWD"/}: $*" >&2
    exit 1
}

# System programs may lie outside an ordinary user's PATH.
has() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null
}

# Those of "program:package" whose program is missing: the program (1) or its package (2).
missing() {
    local part=$1 tool
    shift
    for tool in "$@"; do
        has "${tool%%:*}" || echo "$tool" | cut -d: -f"$part"
    done | sort -u
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Fails with what is to be done by hand where packages cannot be installed.
needs_apt() {
    has apt-get || fail "$1; this is no Debian system"
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "$1; this needs root, and there is no sudo"
        sudo -n true 2>/dev/null || fail "$1; this needs root, and sudo asks for a password"
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends --no-remove "$@" </dev/null
}

# The name of the suite with newer packages for this release; empty where that is not known.
backports() {
    local release
    # shellcheck disable=SC1091
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    echo "${release:+$release-backports}"
}

add_backports() {
    local suite
    suite=$(backports)
    [ -n "$suite" ] || return 1
    if ! apt-cache policy | grep -q "$suite"; then
        local line="deb http://deb.debian.org/debian $suite main"
        echo "$line" | as_root tee "/etc/apt/sources.list.d/$suite.list" >/dev/null
        as_root apt-get update -q </dev/null
    fi
}

# A system that has parts of qemu from backports takes the rest from there or not at all.
apt_install_from_backports() {
    add_backports && apt_install -t "$(backports)" "$@"
}

# Where PostgreSQL is one of the packages given: tests start servers of their own, the package is not to
# make and start one.
no_database_of_its_own() {
    local conf=/etc/postgresql-common/createcluster.conf
    if [[ " $* " == *" postgresql "* && ! -e $conf ]]; then
        as_root mkdir -p "${conf%/*}"
        echo "create_main_cluster = false" | as_root tee "$conf" >/dev/null
    fi
}
