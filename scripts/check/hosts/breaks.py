"""Everything that goes wrong on a host, each as it is done and undone."""

import contextlib
import os
import signal
import time

OUTAGE_SECS = 20  # longer than the nodes take to miss each other
STOP_SECS = 60
DELAY_SECS = 5  # after which systemd starts a node that was killed


def kill(machine, *words):
    """Kills all processes on it whose command lines have these words; whether there was one."""
    numbers = machine.processes(*words)
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return bool(numbers)


def node_killed(site):
    """The host's own process, which is started again as systemd would."""
    kill(site.host, "updraft", " node ")
    time.sleep(DELAY_SECS)
    site.host_up()


def driver_killed(site):
    kill(site.host, "updraft-libvirt")


def libvirtd_killed(site):
    kill(site.host, "libvirtd", str(site.host.data))


def guest_killed(site):
    kill(site.host, "qemu-system", str(site.host.data))


def dnsmasq_killed(site):
    for machine in site.machines:
        kill(machine, "dnsmasq", str(machine.data))


def storage_daemon_killed(site):
    for machine in site.machines:
        kill(machine, "qemu-storage-daemon", str(machine.data))


def control_killed(site):
    """The control process alone: the first host's own goes on, or is started again by it."""
    kill(site.control, "updraft", " up ")
    site.control_up_again()


def libvirtd_stopped(site):
    """It hangs for a minute."""
    numbers = site.host.processes("libvirtd", str(site.host.data))
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    try:
        time.sleep(STOP_SECS)
    finally:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)


def cable_out(site):
    site.host.cable(False)
    time.sleep(OUTAGE_SECS)
    site.host.cable(True)


def power_lost(site):
    """All that ran on the host is gone, its guests among it; what is on its disk is not."""
    site.host.power_off()
    site.host.power_on()
    site.host_up()


def disk_full(site):
    """Nothing can be written on the host for a while."""
    ballast = site.host.folder / "ballast"
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    time.sleep(OUTAGE_SECS)
    ballast.unlink()


BREAKS = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", None) == __name__ and name != "kill"
}
