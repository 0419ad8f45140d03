"""Machines made of namespaces: each has processes, network, mounts and a name of its own, and a power switch.

All of them share this machine's files and its processor. The process that makes them has to be in a network and a
mount namespace of its own: what is made there goes with it, however it ends.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import time

NET_FLAG = 0x40000000  # CLONE_NEWNET
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
BRIDGE = "lan"
PREFIX = 24
# What runs as the first process: readiness is a line, and orphans are reaped, as bash does.
FIRST = """
set -e
hostname "$0"
mount -t sysfs sys /sys
mkdir -p /run/netns
mount -t tmpfs netns /run/netns
ip link set lo up
echo ready
while :; do sleep 3600 & wait $! || true; done
"""

libc = ctypes.CDLL(None, use_errno=True)


def call(*command, **options):
    """Runs something here that may not fail; what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def die_with_parent():
    """In a child before it becomes another program: nothing may outlive this check."""
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)


def make_lan():
    """The switch between the machines, in the namespace of this process."""
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", BRIDGE, "type", "bridge")
    call("ip", "link", "set", BRIDGE, "up")


class Machine:
    """One host: off at first."""

    def __init__(self, name, address, folder):
        self.name, self.address, self.folder = name, address, folder
        self.data = folder / "data"
        self._holder = self.first = None
        folder.mkdir(parents=True, exist_ok=True)

    def power_on(self):
        """Begins it with nothing but its files and its cable."""
        flags = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            ["unshare", *flags, "bash", "-c", FIRST, self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # that its child was killed, which is how a machine is switched off
            text=True,
            preexec_fn=die_with_parent,
        )
        if self._holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.name} does not start")
        number = self._holder.pid
        self.first = int(pathlib.Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])
        call("ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.first))
        call("ip", "link", "set", self.port, "master", BRIDGE, "up")
        self.call("ip", "address", "add", f"{self.address}/{PREFIX}", "dev", "eth0")
        self.call("ip", "link", "set", "eth0", "up")

    def power_off(self):
        """All that runs on it is gone at once, and so are its devices; its files stay."""
        if self._holder is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        self._holder.wait()
        self._holder = None
        # The kernel takes down a namespace's devices a little later, unless it has already.
        with contextlib.suppress(RuntimeError):
            call("ip", "link", "delete", self.port)

    @property
    def port(self):
        """Its end of the cable at the switch."""
        return f"lan-{self.name}"

    def cable(self, plugged):
        """Plugs its cable in or out."""
        call("ip", "link", "set", self.port, "up" if plugged else "down")

    def inside(self, *command):
        """The command that does this on the machine."""
        return ["nsenter", "--target", str(self.first), "--all", "--", *(str(word) for word in command)]

    def call(self, *command, **options):
        """Runs something on it that may not fail; what it printed."""
        return call(*self.inside(*command), **options)

    @contextlib.contextmanager
    def network(self):
        """Sockets that this thread opens meanwhile are the machine's."""
        with open("/proc/thread-self/ns/net", "rb") as own, open(f"/proc/{self.first}/ns/net", "rb") as its:
            enter(its)
            try:
                yield
            finally:
                enter(own)

    def processes(self, *words):
        """The numbers (here) of its processes whose command line has all of these words."""
        mine, found = os.readlink(f"/proc/{self.first}/ns/pid"), []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                number = int(entry.name)
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if os.readlink(entry / "ns/pid") == mine and line and all(word in line for word in words):
                    found.append(number)
        return found


def enter(namespace):
    """This thread goes over into a network namespace."""
    if libc.setns(namespace.fileno(), NET_FLAG) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def until(what, ready, secs):
    """Asks until it is so; what it said then."""
    ends = time.monotonic() + secs
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > ends:
            raise RuntimeError(f"{what}: not within {secs} s")
        time.sleep(0.1)


def until_none(what, find, secs):
    """Asks until nothing is found any more; what was found last is told where that does not come to be."""
    last = []

    def none():
        last[:] = find()
        return not last

    try:
        until(what, none, secs)
    except RuntimeError as error:
        raise RuntimeError(f"{error}: {'; '.join(last)}") from None
