#!/usr/bin/env bash
# Proves the Debian package in an empty Debian whose first process is systemd, as on a machine that somebody installs.
#
#   package.sh PACKAGE.deb
#
# Installs the package with what it names and nothing else, starts the cloud by its unit, kills it, has a second node
# join and started by its unit, stops both, and removes the package. Everything happens in namespaces of its own below
# a temporary folder: when this script ends, however it ends, nothing is left.
set -euo pipefail

room_mib=4096       # it takes 1,300
boot_wait_secs=60   # systemd takes two
start_wait_secs=120 # a first libvirtd asks its emulator what it can do
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# shellcheck source=root.sh
. "$root/scripts/check/root.sh"

as_root() {
    local settings
    mapfile -t settings < <(environment)
    chroot "$new" /usr/bin/env -i "${settings[@]}" DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

install_package() {
    cp "$package" "$new/tmp/updraft.deb"
    { as_root apt-get -q update && as_root apt-get -q install -y --no-install-recommends /tmp/updraft.deb; } \
        >"$work/install.log" 2>&1 || { tail -n 30 "$work/install.log" >&2; die 'apt-get could not install it'; }
    as_root systemd-analyze verify --man=no /usr/lib/systemd/system/updraft{,-node,-control}.service
    # The trial guest of another check; here it would only take its time.
    printf 'virt_type = "qemu"\nlisten = "127.0.0.1:8774"\n' >>"$new/etc/updraft/updraft.toml"
}

# The units run by a systemd that is the first process of its own namespace, on a network that has only itself.
boot() {
    # It looks whether it is in a changed root by its own number's.
    mount -t proc proc "$new/proc"
    mount -t tmpfs run "$new/run"
    mount --rbind /sys "$new/sys"
    mount -t tmpfs cgroups "$new/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
    ip link set lo up
    hostname updraft-package
    exec chroot "$new" /usr/bin/env -i container=updraft PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --log-target=null --show-status=0
}

within() {
    nsenter --target "$init" --all --root --wd -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}

# until_so SECONDS WORDS COMMAND...
until_so() {
    local end=$((SECONDS + $1)) words=$2
    shift 2
    until "$@" >"$work/last" 2>&1; do
        if [ "$SECONDS" -ge "$end" ]; then
            cat "$work/last" >&2
            within journalctl --no-pager -q -n 40 -u 'updraft*' >&2 || true
            die "not within its time: $words"
        fi
        sleep 0.2
    done
}

booted() { within systemctl is-system-running | grep -Eq '^(running|degraded)$'; }
main_pid() { within systemctl show --property MainPID --value "$1"; }

# Both nodes are up, and servers are placed on the host.
cloud_serves() {
    local said
    said=$(within updraft status) || return 1
    grep -q "^node *compute-1 .* up$" <<<"$said" && ! grep -q 'takes no new servers' <<<"$said"
}

a_cloud_by_its_unit() {
    within systemctl start updraft.service
    until_so "$start_wait_secs" 'the cloud takes servers' cloud_serves
    local before
    before=$(main_pid updraft.service)
    within kill -9 "$before"
    until_so 30 'systemd has started it again' test "$(main_pid updraft.service)" != "$before"
    until_so "$start_wait_secs" 'the cloud takes servers again' cloud_serves
    within systemctl stop updraft.service
    ! within updraft status >"$work/last" 2>&1 || die 'it still runs, though its unit was stopped'
    within systemctl reset-failed updraft.service
}

other_cloud='updraft up --detach --hypervisor simulated --data-dir /srv/cloud --listen 127.0.0.1:8874 --quic-listen 127.0.0.1:8875'
node_is_up() { within updraft status --data-dir /srv/cloud | grep -q '^node *rack-7 .* up$'; }

# The folder of the unit is that of the cloud before, which is another node.
a_node_by_its_unit() {
    within mv /var/lib/updraft /var/lib/updraft.before
    # shellcheck disable=SC2086 # the words of a command
    within $other_cloud >"$work/last" 2>&1 || { cat "$work/last" >&2; die 'the other cloud did not start'; }
    within sh -c 'updraft invite --data-dir /srv/cloud | updraft node --join-only --name rack-7 --join-file -' |
        grep -q '^rack-7 has joined'
    within systemctl start updraft-node.service
    until_so "$start_wait_secs" 'the node is up' node_is_up
    within systemctl stop updraft-node.service
    within updraft down --data-dir /srv/cloud >"$work/last"
}

removed() {
    as_root apt-get -q purge -y updraft >"$work/removed" 2>&1 || { cat "$work/removed" >&2; die 'it cannot be removed'; }
    grep -q 'the cloud in /var/lib/updraft is kept' "$work/removed" || die 'nothing is said of what is kept'
    [ -e "$new/var/lib/updraft" ] && [ ! -e "$new/usr/bin/updraft" ] && [ ! -e "$new/etc/updraft/updraft.toml" ] ||
        die 'what a purge leaves is not the data alone'
}

check() {
    timed 'an empty Debian' make_root systemd "$room_mib"
    timed 'installing the package' install_package
    unshare --pid --fork --kill-child --net --uts --ipc --cgroup --mount -- "$0" --boot "$work" </dev/null &
    local booting=$!
    until_so "$boot_wait_secs" 'a first process' pgrep -P "$booting"
    init=$(pgrep -P "$booting")
    until_so "$boot_wait_secs" 'systemd has started' booted
    timed 'a cloud, started, killed and stopped by its unit' a_cloud_by_its_unit
    timed 'a node that joined, started and stopped by its unit' a_node_by_its_unit
    timed 'removing the package' removed
}

case "${1:-}" in
--inside)
    work=$2 new=$2/root package=$3
    check
    exit
    ;;
--boot)
    work=$2 new=$2/root
    boot
    ;;
*.deb) package=$(realpath "$1") ;;
*) die 'usage: package.sh PACKAGE.deb' ;;
esac
check_machine
grep -qw cgroup2 /proc/filesystems || { echo 'skipped: this kernel has no cgroup2, which systemd needs'; exit 77; }
work=$(mktemp -d)
status=0
# The mounts and processes end with the namespaces, so that removing the folder can reach nothing else.
unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- \
    "${BASH_SOURCE[0]}" --inside "$work" "$package" || status=$?
rm -rf --one-file-system "$work"
[ "$status" -ne 0 ] || say 'the package installs, runs and goes'
exit "$status"
