#!/usr/bin/env bash
# Starts a cloud on this machine and launches a server in it, told step by step.
#
#   demo.sh      UPDRAFT_DATA_DIR says where the cloud's files are: data/ beside this script's folder
#
# Ends when the guest itself has said on its console what it got from the metadata service and which disk its
# volume is. The cloud stays up; down.sh stops it. May be repeated: each time a new server is launched.
set -euo pipefail

console_wait_secs=240  # a translated guest is ready in 5 s on a quiet machine; give a busy one its time
host_wait_secs=120     # libvirt's first start takes 8 s, the trial guest that shows what works 10
volume_wait_secs=60    # a volume is a sparse file: made at once
trace_wait_secs=300    # the longest that the flow is followed
look_secs=2            # between two looks; the client itself takes one to begin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
updraft=$target/release/updraft
guest=$target/guest
export UPDRAFT_DATA_DIR=${UPDRAFT_DATA_DIR:-$root/data}
export OS_CLIENT_CONFIG_FILE=$UPDRAFT_DATA_DIR/clouds.yaml OS_CLOUD=updraft

die() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
title() { printf '\n== %s\n' "$*"; }
openstack() { "$root/.venv/bin/openstack" "$@"; }

# Says what is made, makes it, says how long it took. A function that it runs must look after its own
# failures: nothing ends it at the first.
step() {
    local what=$1 begun=$EPOCHREALTIME output
    shift
    printf '   %-46s ' "$what"
    output=$("$@" 2>&1) || { printf 'failed\n%s\n' "$output" >&2; die "$what: $1 said the above"; }
    awk -v begun="$begun" -v ended="$EPOCHREALTIME" 'BEGIN { printf "%6.1f s\n", ended - begun }'
}

# make KIND NAME OPTION...: unless an earlier demo left one.
make() {
    local kind=$1 name=$2
    shift 2
    openstack "$kind" show "$name" >/dev/null 2>&1 || openstack "$kind" create "$@" "$name"
}

security_group() {
    ! openstack security group show "$1" >/dev/null 2>&1 || return 0
    openstack security group create "$1" || return
    openstack security group rule create --protocol icmp "$1" || return
    openstack security group rule create --protocol tcp --dst-port 22 "$1"
}

key_pair() {
    ! openstack keypair show "$1" >/dev/null 2>&1 || return 0
    rm -f "$UPDRAFT_DATA_DIR/$1.key"
    (umask 077 && openstack keypair create --private-key "$UPDRAFT_DATA_DIR/$1.key" "$1")
}

# The APIs answer at once; whether guests can be run is known later.
host_usable() {
    openstack compute service list --service nova-compute -f value -c Status -c State | grep -qx 'enabled up'
}

host_ready() {
    local until=$((SECONDS + host_wait_secs))
    until host_usable; do
        [ $SECONDS -lt $until ] ||
            { "$updraft" status; echo "no host was ready to run guests within $host_wait_secs s"; return 1; }
        sleep "$look_secs"
    done
}

volume_ready() {
    local until=$((SECONDS + volume_wait_secs)) status=unknown
    openstack volume create --size 1 "$1" || return
    while [ $SECONDS -lt $until ]; do
        status=$(openstack volume show -f value -c status "$1")
        case "$status" in
        available) return ;;
        error) break ;;
        esac
        sleep "$look_secs"
    done
    echo "the volume is not available but: $status"
    return 1
}

# Leaves the server's id in the file $made.
launch() {
    openstack server create -f value -c id --image "$image" --flavor demo --network demo --security-group demo \
        --key-name demo --property "nonce=$nonce" \
        --block-device "uuid=$volume,source_type=volume,destination_type=volume,boot_index=-1" "$server" >"$made"
}

# Waits for a line on the guest's console and prints it.
said() {
    local pattern=$1 until=$((SECONDS + console_wait_secs)) line state
    while [ $SECONDS -lt $until ]; do
        line=$(openstack console log show "$server" 2>/dev/null | tr -d '\r' | grep -m 1 -E -- "$pattern" || true)
        if [ -n "$line" ]; then
            echo "$line"
            return
        fi
        state=$(openstack server show -f value -c status "$server")
        [ "$state" != ERROR ] || { openstack server show -f yaml -c status -c fault "$server" >&2; return 1; }
        sleep "$look_secs"
    done
    openstack console log show "$server" >&2 || true
    return 1
}

[ "$(id -u)" -eq 0 ] ||
    die "real guests need root. Without it: updraft up --hypervisor simulated gives the identical flow"

title 'What is needed'
"$here/install-tools.sh" demo
cargo build --release -p updraft-cloud -p updraft-libvirt
step 'a small guest from Debian packages' "$here/guest-image.sh" "$guest"

title 'The cloud'
"$updraft" up --detach

made=$(mktemp)
trap 'rm -f "$made"' EXIT
nonce=$(cat /proc/sys/kernel/random/uuid)
server=demo-${nonce%%-*}
image=guest-$(cut -c 1-8 "$guest/recipe")

title 'What the server leans on, made with the openstack client'
step "flavor demo" make flavor demo --ram 192 --vcpus 1 --disk 1
step "image $image" make image "$image" --disk-format qcow2 --container-format bare --file "$guest/disk.qcow2"
step 'network demo' make network demo
step 'subnet demo, 10.10.0.0/24' make subnet demo --network demo --subnet-range 10.10.0.0/24
step 'security group demo' security_group demo
step 'key pair demo' key_pair demo
step 'the host is ready to run guests' host_ready
step "volume $server, 1 GiB" volume_ready "$server"
volume=$(openstack volume show -f value -c id "$server")

title "Server $server, and how it comes to be (step: the number in the flow it follows)"
step "server $server is asked for" launch
server_id=$(cat "$made")
timeout "$trace_wait_secs" "$updraft" trace "$server_id" --follow ||
    die "the flow was not followed to its end; openstack server show $server says how it stands"

title 'What the guest itself says on its console'
said "^UPDRAFT-ADDRESS " || die 'the guest did not say which address it got'
said "^UPDRAFT-META nonce=$nonce\$" || die 'the guest did not say the nonce of its metadata'
said "^UPDRAFT-DISK vd[b-z] serial=${volume:0:20} " || die 'the guest did not name the disk of its volume'

cat <<NEXT

The cloud stays up. What to type next:

  export OS_CLIENT_CONFIG_FILE=$OS_CLIENT_CONFIG_FILE OS_CLOUD=updraft
  export PATH=$root/.venv/bin:$target/release:\$PATH
  openstack server list --long
  openstack console log show $server
  openstack server stop $server
  openstack server delete --wait $server
  updraft trace --data-dir $UPDRAFT_DATA_DIR $server_id

  make demo    another server
  make down    end the cloud and everything it made on this machine
NEXT
