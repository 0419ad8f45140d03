#!/usr/bin/env python3
"""Makes every mistake that a user of the REST APIs can make, and checks what each is told.

    mistakes.py UPDRAFT             the `updraft` program to test
    mistakes.py UPDRAFT --show      with every answer
    mistakes.py UPDRAFT --seed N --requests N
                                    other nonsense, or more of it

A cloud with simulated guests is started for it, and stopped. The last line printed is "N passed, N failed".
Needs Python alone. What is tested stands in the folder wrong/: tables of requests, each with the status it must
get and the words that must be in the answer.
"""

import argparse
import contextlib
import pathlib
import re
import subprocess
import sys
import tempfile

from cloud import Cloud
from wrong import bodies, fuzz, missing, queries, rights, states, tokens
from wrong.scene import Scene, census, difference
from wrong.table import Score, filled, form, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECS = 60  # how long starting or stopping a cloud may take
SHORT_LIFETIME_SECS = 2


@contextlib.contextmanager
def cloud(updraft, *options):
    """A cloud in a folder of its own, on whatever ports are free."""
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        ports = ["--listen", "127.0.0.1:0", "--quic-listen", "127.0.0.1:0"]
        up = [updraft, "up", "--hypervisor", "simulated", "--detach", "--data-dir", data, *ports, *options]
        subprocess.run(up, check=True, timeout=START_SECS, stdout=subprocess.DEVNULL)
        try:
            yield Cloud(data)
        finally:
            subprocess.run([updraft, "down", "--data-dir", data], check=True, timeout=START_SECS)


def everything(started, score, options):
    """All tables, in an order in which none spoils what the next leans on."""
    scene = Scene(started)
    things, users = scene.things, scene.tokens
    before = census(started, users, things)

    def nothing_left(title):
        """A refused request must leave nothing behind."""
        nonlocal before
        after = census(started, users, things)
        score.note(f"{title} leaves nothing", difference(before, after))
        before = after

    run(started, score, "rights", rights.FORBIDDEN, things, users)
    run(started, score, "others' things", rights.FOREIGN, things, users)
    run(started, score, "unknown", missing.UNKNOWN, things, users)
    run(started, score, "paths", missing.PATHS, things, users)
    run(started, score, "made from nothing", missing.CREATE_FROM_UNKNOWN, things, users, nothing_left)
    run(started, score, "fields", bodies.FIELDS, things, users, nothing_left)
    bodies.bodies(started, score, things, users, nothing_left)
    run(started, score, "queries", queries.QUERIES, things, users)
    queries.versions(started, score, users)
    run(started, score, "conflicts", states.CONFLICTS, things, users, nothing_left)
    states.quotas(started, score, things, users, nothing_left)
    states.locks(started, score, scene)
    states.faults(started, score, scene, nothing_left)
    tokens.logins(started, score, scene)
    tokens.forms(started, score)
    tokens.presented(started, score, scene)
    fuzz.fuzz(started, score, scene, ROOT, known_bodies(things), form, options.requests, options.seed)
    # The nonsense may have deleted anything: the rest begins anew.
    scene = Scene(started, "again-")
    tokens.over(started, score, scene)
    states.deletions(started, score, scene)
    log(started, score)


def known_bodies(things):
    """Where each body of the tables goes, and the body, for the nonsense to be made from."""
    tables = (bodies.FIELDS, missing.UNKNOWN, missing.CREATE_FROM_UNKNOWN, states.CONFLICTS, rights.FORBIDDEN)
    lines = [(line[2].split(" ", 1)[1], line[3]) for table in tables for line in table if line[3]]
    lines += [(path, body) for _, path, body in bodies.TAKES_BODY.values()]
    return filled([list(line) for line in lines], things)


def log(started, score):
    """What a cloud notes of mistakes: that they were made, not that it was at its wits' end."""
    score.begin("log")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", started.log.read_text(errors="replace")).splitlines()
    for word in ("panicked", "ERROR", "RUST_BACKTRACE"):
        found = [line for line in lines if word in line]
        score.must(f"no {word}", not found, f"{len(found)} lines: {found[:3]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("updraft", type=pathlib.Path)
    parser.add_argument("--show", action="store_true", help="print every answer")
    parser.add_argument("--seed", type=int, default=fuzz.SEED)
    parser.add_argument("--requests", type=int, default=fuzz.REQUESTS)
    options = parser.parse_args()
    score = Score(options.show)
    updraft = options.updraft.resolve()
    with cloud(updraft) as started:
        everything(started, score, options)
    with cloud(updraft, "--token-lifetime-secs", str(SHORT_LIFETIME_SECS)) as started:
        tokens.expired(started, score)
    print(f"{score.passed} passed, {score.failed} failed")
    sys.exit(score.failed > 0)


if __name__ == "__main__":
    main()
