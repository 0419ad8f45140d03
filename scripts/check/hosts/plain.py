"""What two hosts do while nothing breaks but what the test itself takes away."""

import re
import time

from .breaks import kill
from .machine import until
from .moments import pulse
from .reality import agree, command_line, nothing_left
from .site import COMPUTE, SETTLE_SECS, VOLUME

# Writes to the disk with this serial, each time anew, and says when that begins to work or fail.
WRITER = """
while :; do
    disk=$(grep -l '^{serial}' /sys/block/vd*/serial 2>/dev/null | cut -d / -f 4)
    if [ -z "$disk" ]; then now=none
    elif dd if=/etc/marker of="/dev/$disk" bs=4096 count=1 conv=sync,fsync 2>/dev/null; then now=ok
    else now=failed; fi
    [ "$now" = "$before" ] || marker "WRITE $now"
    before=$now
    sleep 1
done &
"""


def figures(site):
    """The cloud says of the other host what is so."""
    said = site.figures(site.host)
    with open("/proc/meminfo") as file:
        memory_mib = int(re.search(r"MemTotal: +(\d+)", file.read()).group(1)) // 1024
    if abs(said["memory_mb"] - memory_mib) > 64:
        raise RuntimeError(f"it has {memory_mib} MiB, and the cloud says {said['memory_mb']}")
    return f"{said['vcpus']} processors, {said['memory_mb']} MiB, {said['local_gb']} GiB of disk"


def neighbours(site):
    """Guests on both machines reach each other through the tunnel."""
    site.neighbour = site.launch(site.control)
    site.says(site.neighbour, "UPDRAFT-READY")
    site.neighbour_address = site.address(site.neighbour)
    server = site.launch(site.host, pulse(site.neighbour_address))
    site.says(server, "UPDRAFT-PULSE", 3)
    agree(site)
    site.cloud.delete(f"{COMPUTE}/servers/{server}")
    until("the server is gone", lambda: site.cloud.find_server(server) is None, SETTLE_SECS)


def remote_volume(site):
    """The server of a volume is killed under a writing guest: it sees errors, and attaching again mends it."""
    volume = site.make_volume()
    begun = time.monotonic()
    server = site.launch(site.host, WRITER.replace("{serial}", volume[:20]) + pulse(site.neighbour_address))
    site.says(server, "UPDRAFT-PULSE")
    site.attach(server, volume)
    site.says(server, "UPDRAFT-WRITE ok")
    agree(site)
    if not kill(site.control, "qemu-storage-daemon", volume):
        raise RuntimeError("nothing serves the volume")
    site.says(server, "UPDRAFT-WRITE failed")
    pulses = site.count(server, "UPDRAFT-PULSE")
    site.says(server, "UPDRAFT-PULSE", pulses + 2)
    site.detach(server, volume)
    site.cloud.volume(site.cloud.token, volume, "available")
    site.attach(server, volume)
    site.says(server, "UPDRAFT-WRITE ok", 2)
    agree(site)
    site.cloud.delete(f"{COMPUTE}/servers/{server}")
    site.cloud.volume(site.cloud.token, volume, "available")
    site.cloud.delete(f"{VOLUME}/volumes/{volume}")
    return f"{time.monotonic() - begun:.0f} s"


# Says whether the disk bears its mark, and leaves it there.
MARKED = """
if [ "$(head -c 6 /dev/vda)" = MARKED ]; then marker MARK found
else printf MARKED | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null; marker MARK left; fi
"""


def migrated(site):
    """A server goes to the other host with its disk, comes back, goes again and stays."""
    server = site.launch(site.host, MARKED + pulse(site.neighbour_address))
    site.says(server, "UPDRAFT-MARK left")
    site.says(server, "UPDRAFT-PULSE")
    begun = time.monotonic()
    moves(site, server, "VERIFY_RESIZE", site.control, migrate=None)
    took_secs = time.monotonic() - begun
    moves(site, server, "ACTIVE", site.host, revertResize=None)
    moves(site, server, "VERIFY_RESIZE", site.control, migrate=None)
    site.action(server, confirmResize=None)
    site.cloud.server(site.cloud.token, server, "ACTIVE")
    agree(site)
    site.cloud.delete(f"{COMPUTE}/servers/{server}")
    until("the server is gone", lambda: site.cloud.find_server(server) is None, SETTLE_SECS)
    return f"its guest finds its mark and its neighbour there {took_secs:.0f} s later"


def moves(site, server, status, machine, **action):
    """Does this with a server, whose guest then starts on this machine and finds its disk as it was."""
    site.choose(*site.machines)
    site.action(server, **action)
    home = site.cloud.server(site.cloud.token, server, status)["OS-EXT-SRV-ATTR:host"]
    if home != machine.name:
        raise RuntimeError(f"the server is {status} on {home}, not on {machine.name}")
    agree(site)
    # On another machine its console begins anew.
    site.says(server, "UPDRAFT-MARK found")
    site.says(server, "UPDRAFT-PULSE")


def emptied(site):
    """The last server goes, and nothing of it is left anywhere."""
    site.cloud.delete(f"{COMPUTE}/servers/{site.neighbour}")
    nothing_left(site.machines)


def stopped(site):
    """Down means down: no process of the cloud runs on."""
    site.stop()
    left = [
        command_line(number)
        for machine in site.machines
        for number in machine.processes(str(machine.data))
    ]
    if left:
        raise RuntimeError(f"these run on: {left}")


STEPS = (
    ("the cloud has the figures of the other host", figures),
    ("guests of both hosts reach each other", neighbours),
    ("a server is migrated with its disk, reverted, migrated again and confirmed", migrated),
    ("a volume's server is killed under a writing guest of the other host", remote_volume),
)
