# Sourced by what checks something in an empty Debian: makes one, and lends it this machine's way to its packages.
# shellcheck shell=bash
# The caller sets work, a folder of its own, and new, the root to be made.

release=bookworm
what=$(basename "$0" .sh)
work='' new=''

say() { printf '%s: %s\n' "$what" "$*"; }
die() { printf '%s: %s\n' "$what" "$*" >&2; exit 1; }
timed() {
    local words=$1 begun=$SECONDS
    shift
    "$@"
    say "$words: $((SECONDS - begun)) s"
}

# Debian's sources on this machine, as lines for a sources.list.
sources() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' | sed -n 's/^Debian|//p' | sort -u
}

# How this machine reaches its package sources: proxies and the like.
apt_settings() { apt-config dump | grep -E '^Acquire::(http|https|Retries)' || true; }

# Settings of the same kind that live in the environment.
environment() {
    env | grep -iE '^([a-z]+_proxy|[A-Z_]*(CA_BUNDLE|CERT_FILE|CERT_DIR)|PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|PROXY))=' ||
        true
}

# make_root PACKAGES MIB: an empty Debian with these packages and certificates, with so much room for more.
make_root() {
    local packages=$1 room_mib=$2 mirror file
    mkdir "$new"
    # In memory where there is plenty: package installation waits for the disk most of its time.
    [ "$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" -lt "$((room_mib * 1024 * 5 / 2))" ] ||
        mount -t tmpfs -o "size=${room_mib}M" "$what" "$new"
    mirror=$(sources | awk -v release="$release" '$3 == release { print $2; exit }')
    [ -n "$mirror" ] || die "apt knows no source of Debian $release; run apt-get update"
    debootstrap --variant=minbase --include="$packages,ca-certificates" "$release" "$new" "$mirror" >"$work/debootstrap.log" ||
        { tail -n 20 "$work/debootstrap.log" >&2; die 'debootstrap failed'; }
    sources >"$new/etc/apt/sources.list"
    apt_settings >"$new/etc/apt/apt.conf.d/99-as-the-host"
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || cp -L "$file" "$new$file"
    done
    mount -t proc proc "$new/proc"
    mount --rbind /dev "$new/dev"
}

# What a check in namespaces of its own needs of this machine; a reason to skip it is printed.
check_machine() {
    [ "$(id -u)" -eq 0 ] || { echo 'skipped: only root can change its root'; exit 77; }
    unshare --mount --pid --fork -- mount -t tmpfs none /mnt 2>/dev/null ||
        { echo 'skipped: this machine allows no mounts in a namespace of its own'; exit 77; }
    command -v debootstrap >/dev/null || die 'debootstrap is missing; scripts/install-tools.sh test installs it'
    [ -n "$(sources)" ] || apt-get -q update >/dev/null
}
