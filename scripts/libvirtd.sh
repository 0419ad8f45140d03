#!/usr/bin/env bash
# Runs a libvirtd of one's own, without systemd and beside any other on the machine.
#
#   libvirtd.sh start DIR            start it, or find it running; prints its connection URI
#   libvirtd.sh stop DIR             stop it; its guests go on and are found again by the next start
#   libvirtd.sh stop DIR --guests    stop its guests too
#
# Everything that the daemon keeps lies below DIR: it runs in a mount namespace where libvirt's
# fixed paths are DIR's. Only what it learnt about the emulators is shared, in /var/cache/libvirt.
# It runs in the caller's network namespace, and so do its guests.
set -euo pipefail

start_wait_secs=60   # a first start asks every emulator what it can do: 8 s, more on a busy machine
stop_wait_secs=15    # it ends within one; libvirtd may be at the end of a call to a guest
socket_path_max=107  # what a Unix socket address holds
client_requests=32   # more than the driver's worker threads; libvirt's own 5 would queue them
service_user=libvirt-qemu

say() { printf 'libvirtd.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

check_machine() {
    local tool
    [ "$(id -u)" -eq 0 ] || die 'only root can run guests with libvirt; start it as root'
    for tool in libvirtd qemu-system-x86_64 virsh taskset unshare setsid flock; do
        command -v "$tool" >/dev/null || die "$tool is missing; scripts/host-packages.sh installs it"
    done
    id -u "$service_user" >/dev/null 2>&1 ||
        die "the user $service_user is missing; scripts/host-packages.sh makes it"
    unshare --mount true 2>/dev/null ||
        die 'no mount namespace can be made: a container has to be privileged, the root of a chroot a mount point'
}

daemon_pid() {
    local pid
    pid=$(cat "$dir/libvirtd.pid" 2>/dev/null) || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = libvirtd ] || return 1
    # The number may have been given to another libvirtd since.
    tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "$dir/libvirtd.pid" || return 1
    echo "$pid"
}

answers() { timeout 5 virsh -c "$uri" version >/dev/null 2>&1; }

write_configuration() {
    [ -s "$dir/host-uuid" ] || cat /proc/sys/kernel/random/uuid >"$dir/host-uuid"
    cat >"$dir/etc/libvirtd.conf" <<CONF
unix_sock_dir = "$dir/sock"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "$(cat "$dir/host-uuid")"
max_client_requests = $client_requests
keepalive_interval = 5
keepalive_count = 3
log_outputs = "3:file:$dir/log/libvirtd.log"
CONF
    # What a guest reaches volumes of other hosts with, if the host has such certificates.
    mkdir -p -m 0700 "$dir/tls"
    # Guests are root's, without cgroups, security labels or a log daemon: a machine without
    # systemd has none of them ready.
    cat >"$dir/etc/qemu.conf" <<CONF
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
nbd_tls_x509_cert_dir = "$dir/tls"
CONF
}

# libvirt throws away what it learnt about the emulators when the CPU's identification changes, and
# that differs by core. On one core it stays, and a start takes 0.2 s rather than 8. Guests are not
# bound: libvirt gives each of them all cores.
first_cpu() { sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status; }

launch() {
    mkdir -p /run/libvirt /var/lib/libvirt /etc/libvirt /var/log/libvirt /var/cache/libvirt
    # shellcheck disable=SC2016 # expanded by the inner shell
    setsid unshare --mount bash -c '
        set -e
        for pair in run:/run/libvirt lib:/var/lib/libvirt etc:/etc/libvirt log:/var/log/libvirt; do
            mount --bind "$1/${pair%%:*}" "${pair#*:}"
        done
        exec 9>&-
        exec taskset -c "$2" libvirtd -f /etc/libvirt/libvirtd.conf -p "$1/libvirtd.pid"
    ' launch "$dir" "$(first_cpu)" </dev/null >"$dir/log/output" 2>&1 &
    launched=$!
}

start() {
    check_machine
    mkdir -p "$dir"/{sock,run,lib,etc,log}
    exec 9>"$dir/lock"
    flock 9
    if daemon_pid >/dev/null && answers; then
        echo "$uri"
        return
    fi
    ! daemon_pid >/dev/null || die "the libvirtd of $dir runs and does not answer; stop it first"
    write_configuration
    launch
    local waited=0
    until answers; do
        kill -0 "$launched" 2>/dev/null || {
            tail -n 5 "$dir/log/output" "$dir/log/libvirtd.log" >&2 2>/dev/null
            die 'libvirtd ended at once; its last words are above'
        }
        [ $waited -lt $((start_wait_secs * 10)) ] ||
            die "libvirtd did not answer within $start_wait_secs s; see $dir/log/libvirtd.log"
        sleep 0.1
        waited=$((waited + 1))
    done
    echo "$uri"
}

wait_gone() {
    local left=$((stop_wait_secs * 10))
    while [ -d "/proc/$1" ] && [ $left -gt 0 ]; do
        sleep 0.1
        left=$((left - 1))
    done
    [ ! -d "/proc/$1" ]
}

# By the emulators' own process ids, so that it works when the daemon is gone or hangs.
stop_guests() {
    local file pid
    for file in "$dir"/run/qemu/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        case "$(cat "/proc/$pid/comm" 2>/dev/null)" in qemu-system*) ;; *) continue ;; esac
        kill "$pid" 2>/dev/null || true
        wait_gone "$pid" || kill -9 "$pid" 2>/dev/null || true
    done
}

stop() {
    local pid
    if pid=$(daemon_pid); then
        kill "$pid" 2>/dev/null || true
        wait_gone "$pid" || kill -9 "$pid" 2>/dev/null || true
        wait_gone "$pid" || die "libvirtd (process $pid) does not end"
    fi
    [ "${1:-}" != --guests ] || stop_guests
}

usage='usage: libvirtd.sh start DIR | stop DIR [--guests]'
[ $# -ge 2 ] || die "$usage"
command=$1
[ "$command" = stop ] || mkdir -p "$2" || die "cannot make the folder $2"
dir=$(cd "$2" 2>/dev/null && pwd) || { [ "$command" != stop ] || exit 0; die "no folder $2"; }
uri="qemu:///system?socket=$dir/sock/libvirt-sock"
longest=$dir/sock/libvirt-admin-sock
[ ${#longest} -le $socket_path_max ] ||
    die "the path $dir is too long: a Unix socket below it may have $socket_path_max characters"

case "$command,${3:-},$#" in
start,,2) start ;;
stop,,2 | stop,--guests,3) stop "${3:-}" ;;
*) die "$usage" ;;
esac
