#!/usr/bin/env bash
# Boots real guests through the unmodified openstack client, and shows that nothing of them is left.
#
#   real.sh UPDRAFT     the `updraft` program to test; `updraft-libvirt` lies beside it
#
# Whether a guest runs is judged only by what it printed on its console, with a nonce of this run. One guest
# boots by kernel and ramdisk, one from its own disk, one after the other. Ends with 77 where root, QEMU or
# libvirt are missing. VENV names the folder of the client if it is not .venv.
set -euo pipefail

wait_secs=90         # for a guest to say something: 8 s on a quiet machine, where translation is slow
ready_wait_secs=90   # for the hypervisor: libvirt's first start takes 8 s, the trial guest 10
look_secs=1          # between two looks; the client itself takes one to begin
skipped=77

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
updraft=$(realpath "${1:?usage: real.sh UPDRAFT}")
venv=${VENV:-$root/.venv}
guest=${CARGO_TARGET_DIR:-$root/target}/guest

say() { printf 'real: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
skip() {
    [ -z "${CI:-}" ] || die "$*, and where changes are checked nothing may be skipped"
    echo "skipped: $*"
    exit "$skipped"
}

[ "$(id -u)" -eq 0 ] || skip 'real guests need root'
"$root/scripts/host-packages.sh" --check || skip 'QEMU or libvirt is missing; scripts/host-packages.sh installs them'
[ -x "$venv/bin/openstack" ] || die "there is no client in $venv; scripts/install-tools.sh test installs it"
"$root/scripts/guest-image.sh" "$guest"

work=$(mktemp -d)
data=$work/data
nonce=$(cat /proc/sys/kernel/random/uuid)
export OS_CLIENT_CONFIG_FILE=$data/clouds.yaml OS_CLOUD=updraft
openstack() { "$venv/bin/openstack" "$@"; }

# Devices, namespaces, packet filters, processes and files of this cloud that came with a server. The emulators and
# DHCP servers have the folder in their command lines, the devices the cloud's tag in their aliases.
leftovers() {
    local tag namespace
    tag=$(cat "$data/tag" 2>/dev/null || echo none)
    ip -o link show | grep -F "updraft:$tag:" || true
    for namespace in $(ip netns list | cut -d ' ' -f 1); do
        ip -n "$namespace" -o link show 2>/dev/null | grep -F "updraft:$tag:" | sed "s/^/$namespace: /" || true
    done
    { nft list table bridge "updraft_$tag"; nft list map inet "updraft_$tag" zones; } 2>/dev/null |
        grep -E 'chain (in|out|tap)-?|brq' | sed 's/^/packet filter: /' || true
    pgrep -af 'qemu-system|dnsmasq' | grep -F -- "$data" || true
    # What was asked for of a volume that is gone is remembered for a day.
    find "$data/volumes" -type f -not -path "$data/volumes/generations/*" 2>/dev/null || true
    find "$data/instances/servers" "$data/network/dhcp" -mindepth 1 2>/dev/null || true
    find "$data/libvirt/run/qemu" "$data/libvirt/etc/qemu" -name '*.xml' 2>/dev/null || true
}

processes() { pgrep -af -- "$data" | grep -v "^$$ " || true; }

finish() {
    local status=$?
    trap - EXIT
    [ "$status" -eq 0 ] || { grep -hv ' INFO request' "$data"/logs/control.log | tail -n 60; tail -n 20 "$data"/instances/servers/*/console.log; } 2>/dev/null || true
    "$updraft" down --data-dir "$data" >/dev/null || { say "'updraft down' failed"; status=1; }
    if [ -n "$(processes)" ] || leftovers | grep -v -e "^$data/" ; then
        say "'updraft down' left the above, and these processes: $(processes)"
        status=1
    fi
    [ "$status" -eq 0 ] || passed_failed=1
    rm -rf "$work"
    printf '%d passed, %d failed\n' "$passed" "${passed_failed:-0}"
    exit "$status"
}
passed=0
trap finish EXIT

pass() {
    passed=$((passed + 1))
    say "$(printf '%3d s  %s' "$SECONDS" "$*")"
}

# until_true SECONDS WHAT COMMAND...
until_true() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt "$until" ] || die "not in time: $what"
        sleep "$look_secs"
    done
}

console() { openstack console log show "$1" 2>/dev/null | tr -d '\r'; }
# How often a guest has printed what matches.
count() { console "$1" | grep -c -E -- "$2" || true; }
printed() { [ "$(count "$1" "$2")" -ge "${3:-1}" ]; }
says() { until_true "$wait_secs" "$1 prints $2" printed "$@"; }
is() { [ "$(openstack "$1" show -f value -c status "$2")" = "$3" ]; }
becomes() { until_true "$wait_secs" "$1 $2 is $3" is "$@"; }
is_gone() { [ -z "$(leftovers)" ]; }
make_volume() {
    openstack volume create -f value -c id --size 1 "$1"
    becomes volume "$1" available >&2
}

"$updraft" up --detach --data-dir "$data" --listen 127.0.0.1:0 --quic-listen 127.0.0.1:0
host_up() {
    openstack compute service list --service nova-compute -f value -c Status -c State 2>/dev/null | grep -qx 'enabled up'
}
until_true "$ready_wait_secs" 'the hypervisor is up' host_up
pass 'the hypervisor is up'

upload() { openstack image create -f value -c id --disk-format "$1" --container-format "$2" --file "$3" "${@:5}" "$4"; }
kernel=$(upload aki aki "$guest/vmlinuz" kernel)
ramdisk=$(upload ari ari "$guest/initrd.gz" ramdisk)
qemu-img create -q -f qcow2 "$work/blank.qcow2" 64M
upload qcow2 bare "$work/blank.qcow2" direct --property "kernel_id=$kernel" --property "ramdisk_id=$ramdisk" >/dev/null
upload qcow2 bare "$guest/disk.qcow2" disk >/dev/null
openstack flavor create -f value -c id --ram 192 --vcpus 1 --disk 1 small >/dev/null
openstack network create -f value -c id net >/dev/null
openstack subnet create -f value -c id --network net --subnet-range 10.77.0.0/24 subnet >/dev/null
first_volume=$(make_volume first)
second_volume=$(make_volume second)
pass 'images, flavor, network, subnet and two volumes are there'

launch() { openstack server create -f value -c id --image "$2" --flavor small --network net --property "nonce=$nonce" "${@:3}" "$1" >/dev/null; }

launch direct direct --block-device "uuid=$first_volume,source_type=volume,destination_type=volume,boot_index=-1"
says direct "^UPDRAFT-META nonce=$nonce\$"
pass 'the guest booted by kernel and ramdisk, and read the nonce from metadata'
address=$(openstack server show -f json -c addresses direct | grep -o '10\.77\.0\.[0-9]*')
says direct "^UPDRAFT-ADDRESS eth0 $address/24 "
pass "DHCP gave it the address of its port, $address"
says direct "^UPDRAFT-DISK vd[b-z] serial=${first_volume:0:20} "
pass 'it sees the volume it was created with'
openstack server add volume direct second >/dev/null
says direct "^UPDRAFT-DISK vd[b-z] serial=${second_volume:0:20} "
pass 'it sees the hot-plugged volume'
openstack server remove volume direct second
says direct '^UPDRAFT-DISK-GONE vd[b-z]$'
becomes volume second available
pass 'it sees the volume go'

openstack server stop direct
becomes server direct SHUTOFF
boots=$(count direct '^UPDRAFT-READY ')
openstack server start direct
says direct '^UPDRAFT-READY ' $((boots + 1))
becomes server direct ACTIVE
pass 'it boots again after stop and start'
openstack server reboot direct
says direct '^UPDRAFT-READY ' $((boots + 2))
becomes server direct ACTIVE
pass 'it boots again after reboot'
openstack server delete --wait direct >/dev/null
becomes volume first available
pass 'it is deleted, and its volume is free'

launch disk disk
says disk "UPDRAFT-START .*root=/dev/vda1 "
says disk "^UPDRAFT-META nonce=$nonce\$"
pass 'the guest booted from its own disk, and read the nonce'

# From here on nobody waits: each is killed while the same kind of build goes on.
openstack server delete --wait disk >/dev/null
accepted() { grep -c ' accepted ' "$data/logs/control.log" || true; }
# The process whose name is in $1 is killed a random moment after a server was accepted.
kill_during_build() {
    local before create
    before=$(accepted)
    launch "$1" direct >"$work/create" 2>&1 &
    create=$!
    until [ "$(accepted)" -gt "$before" ]; do sleep 0.01; done
    sleep "0.$((RANDOM % 5))"
    kill -9 "$(cut -d ' ' -f 1 "$data/run/$1.pid")"
    [ "$1" != control ] || "$updraft" up --detach --data-dir "$data" --listen "$listen" --quic-listen 127.0.0.1:0 >/dev/null
    wait "$create" || true # the client may have lost its connection; the server is there all the same
    says "$1" "^UPDRAFT-META nonce=$nonce\$"
    becomes server "$1" ACTIVE
    openstack server delete --wait "$1" >/dev/null
    pass "a build goes on to its end when the $1 process is killed in it"
}
listen=$(cat "$data/run/address")
kill_during_build compute
kill_during_build control

openstack volume delete first second
until_true "$wait_secs" 'nothing is left of the servers and volumes' is_gone
pass 'no device, namespace, process or file is left of servers and volumes'
