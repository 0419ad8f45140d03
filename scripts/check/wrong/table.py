"""Tables of mistakes: each line a request, the status it must get, and words that must be in the answer.

The form of the answer is checked with every line: each service tells its errors in a form of its own.
"""

import json
import re
import sys

TITLES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict",
    410: "Gone", 412: "Precondition Failed", 413: None, 414: "URI Too Long",
    415: "Unsupported Media Type", 416: None, 431: None, 501: "Not Implemented",
}  # fmt: skip
FAULTS = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
    409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 501: "notImplemented",
}  # fmt: skip
REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
# What no answer may hold, as it speaks of how this is made and not of what was asked.
INSIDES = re.compile(r"panicked|RUST_|\.rs:\d|serde|axum|tokio|redb|unwrap|Some\(|Err\(|\bu64\b|\bi64\b")


class Score:
    """How many lines were answered as they must be."""

    def __init__(self, show=False):
        self.passed, self.failed, self.show, self.table = 0, 0, show, ""

    def begin(self, table):
        self.table = table

    def note(self, title, complaints, answer=None):
        """One line done."""
        if complaints:
            self.failed += 1
            print(f"FAIL {self.table}: {title}: {'; '.join(complaints)}\n     {answer}", file=sys.stderr)
        else:
            self.passed += 1
            if self.show:
                print(f"ok   {self.table}: {title}: {answer}")

    def must(self, title, holds, otherwise=""):
        """Something that is no answer."""
        self.note(title, [] if holds else [f"it is not so: {otherwise}"])

    def expect(self, title, answer, status, *words):
        """An answer of this status, in its service's form, with these words in it."""
        complaints = []
        if answer.status != status:
            complaints.append(f"{answer.status} where {status} belongs")
        if answer.status >= 400 and answer.method != "HEAD":
            complaints += form(answer)
            message = text_of(answer)
            complaints += [f"no {word!r} in it" for word in words if word not in message]
        self.note(title, complaints, answer)
        return answer


def form(answer):
    """What is wrong with the form of an error."""
    wrong = []
    if not REQUEST_ID.fullmatch(answer.headers.get("X-Openstack-Request-Id", "")):
        wrong.append("no request id")
    if INSIDES.search(answer.text):
        wrong.append("it speaks of the inside")
    if answer.status == 401 and "Keystone uri=" not in answer.headers.get("WWW-Authenticate", ""):
        wrong.append("no WWW-Authenticate")
    try:
        wrong += FORMS[answer.service](answer) if answer.status != 401 else identity(answer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wrong.append(f"not in the form of {answer.service}: {error!r}")
    return wrong


def identity(answer):
    error = answer.json["error"]
    wrong = [] if set(error) == {"code", "message", "title"} else [f"keys {sorted(error)}"]
    if error["code"] != answer.status:
        wrong.append(f"code {error['code']}")
    title = TITLES.get(answer.status)
    return wrong + ([f"title {error['title']!r}"] if title and error["title"] != title else [])


def fault(answer):
    ((name, error),) = answer.json.items()
    wrong = [] if name == FAULTS.get(answer.status, "computeFault") else [f"fault {name}"]
    if error["code"] != answer.status or not error["message"]:
        wrong.append(f"code {error['code']}, message {error['message']!r}")
    return wrong


def network(answer):
    error = answer.json["NeutronError"]
    wrong = [] if set(error) == {"type", "message", "detail"} else [f"keys {sorted(error)}"]
    return wrong if re.fullmatch(r"[A-Z]\w+", error["type"]) else [*wrong, f"type {error['type']!r}"]


def image(answer):
    error = answer.json
    code, title = error["code"].split(" ", 1)
    wrong = [] if int(code) == answer.status else [f"code {code}"]
    return wrong if title == error["title"] else [*wrong, f"title {error['title']!r}"]


FORMS = {"identity": identity, "compute": fault, "volume": fault, "network": network, "image": image}


def text_of(answer):
    """Everything an error says, with its type, as one text."""
    try:
        return " ".join(strings(json.loads(answer.body)))
    except ValueError:
        return answer.text


def strings(value):
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    return [str(value)]


def filled(value, things):
    """A value with `$name` in every text replaced by the id of the thing of that name."""
    if isinstance(value, str):
        return re.sub(r"\$(\w+)", lambda found: str(things[found.group(1)]), value)
    if isinstance(value, list):
        return [filled(part, things) for part in value]
    if isinstance(value, dict):
        return {filled(name, things): filled(part, things) for name, part in value.items()}
    return value


def run(cloud, score, name, lines, things, tokens, after=None):
    """Sends every line of a table: (title, who, "METHOD /path", body, status, words...)."""
    score.begin(name)
    for title, who, request, body, status, *words in lines:
        method, path = filled(request, things).split(" ", 1)
        version = {"OpenStack-API-Version": "compute 2.100"} if path.startswith("/compute") else {}
        answer = cloud.send(method, path, filled(body, things), token=tokens[who], headers=version)
        score.expect(title, answer, status, *filled(words, things))
        if after is not None:
            after(title)
