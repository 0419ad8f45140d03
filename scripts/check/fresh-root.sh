#!/usr/bin/env bash
# Proves the install steps in an empty Debian, since a machine that already has a package hides a missing line.
#
#   fresh-root.sh
#
# Makes a Debian 12 with nothing but what debootstrap gives, make and certificates, lends it this machine's Rust
# toolchain, and runs there what `make demo` and `make test` install, twice: the second time nothing may be left
# to do. Then it uses what was installed. It compiles one small program, not the workspace.
#
# Everything happens in a mount and process namespace of its own below a temporary folder: when this script ends,
# however it ends, nothing is left. Where packages come from is this machine's own configuration.
set -euo pipefail

release=bookworm
room_mib=3072            # it takes 1,100
memory_kib_min=8000000   # with less available it is on the disk
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
clone=/root/updraft # where the copy of this tree is in there

say() { printf 'fresh-root: %s\n' "$*"; }
die() { printf 'fresh-root: %s\n' "$*" >&2; exit 1; }
timed() {
    local what=$1 begun=$SECONDS
    shift
    "$@"
    say "$what: $((SECONDS - begun)) s"
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

make_root() {
    local mirror
    mirror=$(sources | awk -v release="$release" '$3 == release { print $2; exit }')
    [ -n "$mirror" ] || die "apt knows no source of Debian $release; run apt-get update"
    debootstrap --variant=minbase --include=make,ca-certificates "$release" "$new" "$mirror" >"$work/debootstrap.log" ||
        { tail -n 20 "$work/debootstrap.log" >&2; die 'debootstrap failed'; }
    sources >"$new/etc/apt/sources.list"
    apt_settings >"$new/etc/apt/apt.conf.d/99-as-the-host"
    local file
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || cp -L "$file" "$new$file"
    done
}

bring_tree() {
    mkdir -p "$new$clone" "$new/root/shared/conformance"
    git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 ls -d 2>/dev/null) |
        tar -C "$root" -cf - -T - | tar -C "$new$clone" -xf -
    [ ! -d "$conformance" ] || cp -r "$conformance/." "$new/root/shared/conformance/"
}

# The toolchain is lent: what is proven is that nothing else is needed beside it.
lend_rust() {
    sysroot=$(rustc --print sysroot)
    mkdir -p "$new$sysroot"
    mount --bind -o ro "$sysroot" "$new$sysroot"
    mount -t proc proc "$new/proc"
    mount --rbind /dev "$new/dev"
}

inside() {
    local settings
    mapfile -t settings < <(environment)
    chroot "$new" /usr/bin/env -i "${settings[@]}" HOME=/root LANG=C.UTF-8 TERM=dumb \
        PATH="$sysroot/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        /bin/bash -euo pipefail -c "cd $clone; $1"
}

install() {
    inside 'scripts/install-tools.sh demo' >"$work/install.log" 2>&1 ||
        { tail -n 40 "$work/install.log" >&2; die 'the install steps failed'; }
}

# A second run must find everything in place, and say nothing.
install_again() {
    local said
    said=$(inside 'scripts/install-tools.sh demo' 2>&1)
    [ -z "$said" ] || die "the second run of the install steps still did something: $said"
}

make_guest() { inside 'scripts/guest-image.sh /tmp/guest && ls -l /tmp/guest'; }

uses='
scripts/host-packages.sh --check
qemu-system-x86_64 --version | head -n 1
qemu-img --version | head -n 1
libvirtd --version
virsh --version
dnsmasq --version | head -n 1
nft --version
conntrack --version
ip -V
pkg-config --exists libvirt
pkg-config --modversion libvirt
id libvirt-qemu
.venv/bin/openstack --version
cargo --version
cat >/tmp/links.rs <<RUST
#[link(name = "virt")]
unsafe extern "C" { fn virGetVersion(version: *mut u64, name: *const u8, of: *mut u64) -> i32; }
fn main() {
    let mut version = 0;
    let status = unsafe { virGetVersion(&mut version, std::ptr::null(), std::ptr::null_mut()) };
    assert_eq!(status, 0);
    println!("a Rust program is linked against libvirt {version}");
}
RUST
rustc --edition 2024 -o /tmp/links /tmp/links.rs
/tmp/links
'

# In memory where there is plenty: package installation waits for the disk most of its time.
make_room() {
    new=$work/root
    mkdir "$new"
    [ "$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" -lt "$memory_kib_min" ] ||
        mount -t tmpfs -o "size=${room_mib}M" fresh-root "$new"
}

check() {
    make_room
    timed 'an empty Debian' make_root
    bring_tree
    lend_rust
    timed 'the install steps' install
    timed 'the same again' install_again
    timed 'the small guest' make_guest
    timed 'using what was installed' inside "$uses"
}

if [ "${1:-}" = --inside ]; then
    work=$2
    check
    exit
fi
[ "$(id -u)" -eq 0 ] || { echo 'skipped: only root can change its root'; exit 77; }
unshare --mount --pid --fork -- mount -t tmpfs none /mnt 2>/dev/null ||
    { echo 'skipped: this machine allows no mounts in a namespace of its own'; exit 77; }
command -v debootstrap >/dev/null || die 'debootstrap is missing; scripts/install-tools.sh test installs it'
export conformance=${UPDRAFT_CONFORMANCE:-$root/../shared/conformance}
[ -n "$(sources)" ] || apt-get -q update >/dev/null
work=$(mktemp -d)
status=0
# The mounts end with the namespace, so that removing the folder can reach nothing else.
unshare --mount --propagation private --pid --fork --kill-child -- \
    "${BASH_SOURCE[0]}" --inside "$work" || status=$?
rm -rf --one-file-system "$work"
[ "$status" -ne 0 ] || say 'every install step works in an empty Debian'
exit "$status"
