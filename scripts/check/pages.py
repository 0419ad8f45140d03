#!/usr/bin/env python3
"""Checks what the pages say about the tree: the book, the README and their neighbours.

Links and their anchors lead somewhere; the book's summary names every page; files, messages and `make` targets
that are named exist. Prints what does not hold, a line each, and ends with 1.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book/src"
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")] + sorted(BOOK.rglob("*.md"))
# Code spans that begin so are files of this repository.
FOLDERS = ("transport/", "runtime/", "actors/", "harness/", "tests/", "scripts/", "book/")

problems = []


def complain(page, line, words):
    problems.append(f"{page.relative_to(ROOT)}:{line}: {words}")


def lines_of(page):
    """The page's lines with their numbers and whether they are inside a fenced block."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        yield number, line, fenced


def anchors(page):
    """The anchors of a page's headings, as GitHub and mdBook make them."""
    found = set()
    for _, line, fenced in lines_of(page):
        if not fenced and (heading := re.match(r"#+ (.*)", line)):
            text = re.sub(r"[^\w\- ]", "", heading[1].replace("`", "").lower())
            found.add(text.strip().replace(" ", "-"))
    return found


def check_link(page, number, target):
    if re.match(r"[a-z]+:", target):
        return
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        complain(page, number, f"link to nothing: {target}")
    elif anchor and anchor not in anchors(file):
        complain(page, number, f"no such heading: {target}")


def topics(file):
    """The names of the topics that a file declares, by their types."""
    text = file.read_text()
    names = dict(re.findall(r'const (\w+): &str = "([\w.]+)";', text))
    declared = re.findall(r'^protocol!\((\w+) = (?:"([\w.]+)"|(\w+))\);', text, re.M)
    return {topic: name or names[constant] for topic, name, constant in declared}


def messages():
    """Every message's name on the wire."""
    found = set()
    for file in (ROOT / "actors/protocol/src").rglob("*.rs"):
        # A module below another uses the topics of that.
        above = file.parent.with_suffix(".rs")
        known = (topics(above) if above.exists() else {}) | topics(file)
        for topic, method in re.findall(r'message!\(\w+ \w+ = (\w+) / "(\w+)"', file.read_text()):
            found.add(f"{known[topic]}/{method}")
    return found


def targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def check_page(page, known_messages, known_targets, tracked):
    for number, line, fenced in lines_of(page):
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", line):
            if name not in known_targets:
                complain(page, number, f"make has no target {name}")
        if fenced:
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            check_link(page, number, target)
        for span in re.findall(r"`([^`]+)`", line):
            if span.startswith(FOLDERS) and not any(char in span for char in " *{"):
                if span.rstrip("/") not in tracked:
                    complain(page, number, f"no such file: {span}")
            if re.fullmatch(r"(?:compute|image|network|volume)\.[a-z0-9]+/\w+", span) and span not in known_messages:
                complain(page, number, f"no such message: {span}")


def check_summary():
    named = {
        (BOOK / target).resolve()
        for target in re.findall(r"\]\(([^)#\s]+)\)", (BOOK / "SUMMARY.md").read_text())
    }
    for page in sorted(BOOK.rglob("*.md")):
        if page.name != "SUMMARY.md" and page not in named:
            complain(page, 1, "the summary does not name this page")


def tracked_files():
    """Files of the tree, and the folders that they are in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")
    found = {name for name in listed if name}
    for name in list(found):
        found |= {str(parent) for parent in Path(name).parents}
    return found


def main():
    known_messages, known_targets, tracked = messages(), targets(), tracked_files()
    for page in PAGES:
        check_page(page, known_messages, known_targets, tracked)
    check_summary()
    for problem in problems:
        print(problem)
    print(f"{len(PAGES)} pages looked through, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
