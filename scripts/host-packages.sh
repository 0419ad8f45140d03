#!/usr/bin/env bash
# Installs what running guests on a Debian host needs: QEMU, libvirt, DHCP, firewall, image tools.
#
#   host-packages.sh           install whatever is missing
#   host-packages.sh --check   install nothing; exit 1 and name what is missing
#
# May be repeated: with everything in place it asks dpkg once and ends.
set -euo pipefail

# One package a line, with what it is for.
packages=(
    qemu-system-x86            # the emulator that runs guests
    qemu-utils                 # qemu-img: disks and snapshots; qemu-storage-daemon: volumes for other hosts
    libvirt-daemon             # the daemon that supervises the emulators
    libvirt-daemon-driver-qemu # its QEMU driver
    libvirt-clients            # virsh, for people
    libvirt-dev                # what updraft-libvirt is linked against
    pkg-config                 # finds libvirt-dev while building
    gcc libc6-dev              # the linker that Rust needs
    dnsmasq-base               # DHCP for guests
    nftables                   # security groups
    conntrack                  # connections that a security group forbids end
    iproute2                   # bridges, taps, namespaces
    busybox-static             # the small guest's only program
    e2fsprogs                  # makes the file system of the small guest
)
service_user=libvirt-qemu       # libvirtd ends at once where this user is unknown
lock_wait_secs=300              # another apt may be at work; give it this long
apt=(apt-get -q -o "DPkg::Lock::Timeout=$lock_wait_secs" -o APT::Color=0)

say() { printf 'host-packages: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

missing_packages() {
    local installed package
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
        sed -n 's/^installed //p') || true
    for package in "${packages[@]}"; do
        grep -qxF -- "$package" <<<"$installed" || echo "$package"
    done
}

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p'; }
installed_version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || true; }

lists_know() {
    local package version
    for package in "$@"; do
        version=$(candidate "$package")
        [ -n "$version" ] && [ "$version" != '(none)' ] || return 1
    done
}

# qemu-utils from backports breaks the older qemu-system-common, and apt left alone either refuses
# or takes qemu-utils away. Both come from one source package, so its version fits the other.
with_matching_qemu_utils() {
    local wanted have
    have=$(installed_version qemu-utils)
    wanted=$(candidate qemu-system-x86)
    if [ -n "$(installed_version qemu-system-x86)" ] || [ -z "$have" ] ||
        ! dpkg --compare-versions "$have" gt "$wanted"; then
        printf '%s\n' "$@"
        return
    fi
    say "qemu-utils $have is newer than the emulator that apt offers; both become $wanted"
    printf '%s\n' --allow-downgrades "$@" "qemu-utils=$wanted"
}

install() {
    local arguments
    mapfile -t arguments < <(with_matching_qemu_utils "$@")
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${arguments[@]}"
}

refresh_lists() {
    say 'reading the package lists'
    "${apt[@]}" update >/dev/null ||
        die "apt-get update failed; look at the sources below /etc/apt and at this machine's network"
}

create_service_user() {
    getent group "$service_user" >/dev/null || groupadd --system "$service_user"
    id -u "$service_user" >/dev/null 2>&1 ||
        useradd --system --gid "$service_user" --home-dir /var/lib/libvirt --no-create-home \
            --shell /usr/sbin/nologin "$service_user"
}

main() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
        die 'this is no Debian: install QEMU, libvirt, dnsmasq, nftables, conntrack and iproute2 by hand'
    local missing
    mapfile -t missing < <(missing_packages)
    if [ "${1:-}" = --check ]; then
        [ ${#missing[@]} -eq 0 ] || die "missing packages: ${missing[*]}"
        id -u "$service_user" >/dev/null 2>&1 || die "missing user: $service_user"
        return
    fi
    [ $# -eq 0 ] || die "unknown argument '$1'; the only one is --check"
    [ "$(id -u)" -eq 0 ] || die 'only root can install packages'
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        lists_know "${missing[@]}" || refresh_lists
        # Lists that have aged name files that the mirror no longer has: read them anew, once.
        install "${missing[@]}" >&2 || { refresh_lists && install "${missing[@]}" >&2; } ||
            die 'apt-get could not install these packages; its own words are above'
    fi
    create_service_user
}

main "$@"
