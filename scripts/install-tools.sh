#!/usr/bin/env bash
# Installs what `make` needs beside the Rust toolchain; what is there already is left alone.
#
#   install-tools.sh demo        to build the cloud, run guests and talk to it: `make demo`
#   install-tools.sh test        the same, and what checks it: `make test`
#   install-tools.sh messages    the servers that `make bench-messages` measures; none is left running
#   install-tools.sh docs        what makes a book of book/: `make docs`
#   install-tools.sh deb         what makes a Debian package: `make deb`
#   install-tools.sh where       print the folder of the tools that cargo builds
#
# Debian packages come from this machine's own apt sources, all else from the package registries that pip
# and cargo are set up for. Without root no package is installed: what is missing is named.
set -euo pipefail

cargo_deny=0.20.2   # checks licences and sources of our dependencies
cargo_deb=3.8.0     # makes the Debian package
mdbook=0.5.4        # makes the book
client=10.5.0       # python-openstackclient, as in the conformance folder
sdk=4.22.0          # openstacksdk, likewise
lock_wait_secs=300  # another apt may be at work; give it this long

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
conformance=${UPDRAFT_CONFORMANCE:-$root/../shared/conformance}
venv=$root/.venv
# Outside the tree, so that a fresh clone need not build them again.
tools=${UPDRAFT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/updraft/tools}

say() { printf 'install-tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

rust() {
    local program
    for program in cargo rustc; do
        command -v "$program" >/dev/null || die "$program is missing: install Rust (rustup.rs)"
    done
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have=$(rustc --version | cut -d ' ' -f 2)
    [ "$(printf '%s\n' "$wanted" "${have%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
        die "rustc is $have and $wanted or newer is needed: rustup update"
}

rust_checkers() {
    cargo fmt --version >/dev/null 2>&1 || die 'cargo fmt is missing: rustup component add rustfmt'
    cargo clippy --version >/dev/null 2>&1 || die 'cargo clippy is missing: rustup component add clippy'
}

# What guests need is listed in one place, host-packages.sh.
host() {
    if [ "$(id -u)" -eq 0 ]; then
        "$here/host-packages.sh"
    else
        "$here/host-packages.sh" --check ||
            say 'this user cannot install them: guests and the tests that need them will not run'
    fi
}

packages() {
    [ "$(id -u)" -eq 0 ] || die "missing packages: $*; install them as root"
    local apt=(apt-get -q -o "DPkg::Lock::Timeout=$lock_wait_secs" -o APT::Color=0)
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" >&2 ||
        { "${apt[@]}" update >&2 &&
            DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" >&2; } ||
        die "apt-get could not install $*; its own words are above"
}

python() {
    python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        packages python3 python3-venv ca-certificates
}

openstack_client() {
    [ ! -x "$venv/bin/openstack" ] || return 0
    python
    say 'installing the openstack client'
    if [ -x "$conformance/setup.sh" ]; then
        "$conformance/setup.sh" "$venv" >&2
    else
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check \
            "python-openstackclient==$client" "openstacksdk==$sdk"
    fi
}

shell_checkers() {
    local missing=()
    command -v shellcheck >/dev/null || missing+=(shellcheck)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v pgrep >/dev/null || missing+=(procps)
    [ ${#missing[@]} -eq 0 ] || packages "${missing[@]}"
}

# What a measurement starts for itself. No service of the machine runs because of it, now or after a restart.
message_servers() {
    local missing=()
    command -v nats-server >/dev/null || missing+=(nats-server)
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "missing packages: ${missing[*]}; what needs them is not measured"
        return 0
    fi
    without_starting_services packages "${missing[@]}"
    ! command -v systemctl >/dev/null || systemctl --quiet disable "${missing[@]}" 2>/dev/null || true
}

# Debian's packages ask this file whether they may start what they bring. One that is there already is left alone.
without_starting_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        # shellcheck disable=SC2064  # the path of now is meant
        trap "rm -f '$policy'" EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    "$@"
}

# The tests start servers of their own; the package's own one would only be in the way.
postgresql() {
    ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || return 0
    packages postgresql-common
    sed -i 's/^#\? *create_main_cluster.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf
    packages postgresql
}

# A tool of the Rust world, built here from crates.io. Unoptimised: it runs for seconds and builds in minutes.
built() {
    local name=$1 version=$2
    shift 2
    [ "$("$tools/bin/$name" --version 2>/dev/null | grep -o '[0-9][0-9.]*' | head -n 1)" != "$version" ] ||
        return 0
    say "building $name $version, which takes about two minutes; it is kept in $tools"
    mkdir -p "$tools"
    CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=true RUSTFLAGS='' \
        cargo install --quiet --debug --locked --no-default-features --root "$tools" "$@" \
        "$name@$version" >&2
    rm -rf "$tools/build"
}

debian_packager() { built cargo-deb "$cargo_deb" --features gzip; }

# One a line: in a chain of `&&` a failing command inside a function would not end the script.
case "${1:-}" in
where) echo "$tools" ;;
demo)
    rust
    host
    openstack_client
    ;;
test)
    rust
    rust_checkers
    host
    shell_checkers
    postgresql
    openstack_client
    built cargo-deny "$cargo_deny"
    debian_packager
    ;;
messages)
    rust
    message_servers
    ;;
docs)
    rust
    built mdbook "$mdbook"
    ;;
deb)
    rust
    host
    debian_packager
    ;;
*) die 'usage: install-tools.sh demo | test | messages | docs | deb | where' ;;
esac
