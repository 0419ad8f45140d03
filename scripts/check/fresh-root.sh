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

room_mib=3072 # it takes 1,100
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
clone=/root/updraft # where the copy of this tree is in there

# shellcheck source=root.sh
. "$root/scripts/check/root.sh"

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

check() {
    timed 'an empty Debian' make_root make "$room_mib"
    bring_tree
    lend_rust
    timed 'the install steps' install
    timed 'the same again' install_again
    timed 'the small guest' make_guest
    timed 'using what was installed' inside "$uses"
}

if [ "${1:-}" = --inside ]; then
    work=$2 new=$2/root
    check
    exit
fi
check_machine
export conformance=${UPDRAFT_CONFORMANCE:-$root/../shared/conformance}
work=$(mktemp -d)
status=0
# The mounts end with the namespace, so that removing the folder can reach nothing else.
unshare --mount --propagation private --pid --fork --kill-child -- \
    "${BASH_SOURCE[0]}" --inside "$work" || status=$?
rm -rf --one-file-system "$work"
[ "$status" -ne 0 ] || say 'every install step works in an empty Debian'
exit "$status"
