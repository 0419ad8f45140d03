#!/usr/bin/env python3
"""Breaks a cloud of two real hosts in every way, at every moment of a server's life, and checks what is left.

    hosts.py UPDRAFT                 the `updraft` program to test; `updraft-libvirt` lies beside it
    hosts.py UPDRAFT --all           each break at each moment, not only at one
    hosts.py UPDRAFT --only migrate  every break at this moment; --only power_lost is this break at every one, and
                                     --only migrate/power_lost one alone
    hosts.py UPDRAFT --seed N        other moments

The machines are namespaces, their guests real. Afterwards rows and reality have to agree: one guest for each server,
nothing of those that are gone. The last line printed is "N passed, N failed". Ends with 77 where root, QEMU or libvirt are
missing. What is done stands in the folder hosts/.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from hosts import plain
from hosts.breaks import BREAKS
from hosts.machine import Machine, call, make_lan
from hosts.moments import MOMENTS, cell
from hosts.site import Site

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST_DISK = "3G"
TOLD_LINES, LINE_MAX_CHARS = 30, 300
ISOLATED = "--isolated"


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("updraft", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(ISOLATED, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def missing():
    """Why this machine cannot do it."""
    if os.geteuid() != 0:
        return "real guests need root"
    check = subprocess.run([ROOT / "scripts/host-packages.sh", "--check"], stderr=subprocess.DEVNULL)
    return "QEMU or libvirt is missing; scripts/host-packages.sh installs them" if check.returncode else None


def chosen(given):
    """The cells to be run, as pairs of a moment and a break."""
    cells = [(moment, broken) for broken in BREAKS for moment in MOMENTS]
    if given.only:
        return [pair for pair in cells if given.only in ("/".join(pair), *pair)]
    if given.all:
        return cells
    names = list(MOMENTS)
    return [(names[number % len(names)], broken) for number, broken in enumerate(BREAKS)]


class Score:
    """What passed, as it passes."""

    def __init__(self):
        self.passed, self.failed, self.begun = 0, 0, time.monotonic()

    def step(self, title, do, *arguments):
        """Does something; whether it went as it must."""
        try:
            said = do(*arguments)
        except (RuntimeError, OSError) as error:
            self.failed += 1
            self.say(f"FAIL {title}: {error}")
            return False
        self.passed += 1
        self.say(f"{title}{f': {said}' if said else ''}")
        return True

    def say(self, words):
        print(f"hosts: {time.monotonic() - self.begun:4.0f} s  {words}", flush=True)


def everything(site, score, given):
    draw = random.Random(given.seed)
    for title, do in plain.STEPS:
        # They need the neighbour alone.
        if given.only and do is not plain.neighbours:
            continue
        if not score.step(title, do, site):
            return
    for pair in chosen(given):
        if not score.step("/".join(pair), cell, site, *pair, draw):
            return
    score.step("nothing is left of servers and volumes", plain.emptied, site)


def main():
    given = options()
    why = missing()
    if why:
        print(f"skipped: {why}")
        sys.exit(1 if os.environ.get("CI") else 77)
    if not given.isolated:
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv, ISOLATED])
    guest = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "guest"
    call(ROOT / "scripts/guest-image.sh", guest)
    make_lan()
    score = Score()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        control = Machine("compute-1", "192.0.2.1", work / "compute-1")
        (work / "host-b").mkdir()
        call("mount", "-t", "tmpfs", "-o", f"size={HOST_DISK}", "host-b", work / "host-b")
        site = Site(given.updraft.resolve(), control, Machine("host-b", "192.0.2.2", work / "host-b"))
        try:
            if score.step("the other host joins and is listed", site.start):
                site.furnish(guest)
                everything(site, score, given)
            if score.failed:
                tell(site)
            score.step("nothing runs any more after 'updraft down'", plain.stopped, site)
        finally:
            for machine in site.machines:
                machine.power_off()
            call("umount", work / "host-b")
    print(f"{score.passed} passed, {score.failed} failed")
    sys.exit(1 if score.failed else 0)


def tell(site):
    """The ends of the logs, for whoever wants to know why."""
    for machine in site.machines:
        for log in sorted((machine.data / "logs").glob("*.log")):
            print(f"---- {machine.name} {log.name}")
            lines = [line for line in log.read_text(errors="replace").splitlines() if " INFO request" not in line]
            print("\n".join(line[:LINE_MAX_CHARS] for line in lines[-TOLD_LINES:]))


if __name__ == "__main__":
    main()
