"""Who cannot prove to be anybody. The answer is one and the same, whatever was wrong."""

import base64
import hashlib
import hmac
import os
import statistics
import struct
import time

from cloud import password_auth
from .scene import COMPUTE, IDENTITY, IMAGE, NETWORK, PASSWORD, VOLUME

TOKENS = f"{IDENTITY}/auth/tokens"
LISTS = (f"{COMPUTE}/servers", f"{IDENTITY}/projects", f"{IMAGE}/images", f"{NETWORK}/networks", f"{VOLUME}/volumes")
MESSAGE = "The request you have made requires authentication."
TRIES = 15  # how often each of two kinds of login is timed
# Hashing a password takes tens of milliseconds, finding out that there is no user takes none.
SAME_CLASS = 2.0


def logins(cloud, score, scene):
    """Wrong names and passwords cannot be told apart."""
    score.begin("logins")
    wrong = {
        "wrong password": password_auth("member", "wrong", "home"),
        "unknown user": password_auth("who", PASSWORD, "home"),
        "unknown user and project": password_auth("who", PASSWORD, "where"),
        "unknown project": password_auth("member", PASSWORD, "where"),
        "no role in the project": password_auth("member", PASSWORD, "away"),
        "empty password": password_auth("member", "", "home"),
        "very long password": password_auth("member", "x" * 9000, "home"),
        "unknown method": {"auth": {"identity": {"methods": ["telepathy"], "telepathy": {}}}},
        "a token that is none": {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}}},
    }
    other = password_auth("member", PASSWORD, "home")
    other["auth"]["identity"]["password"]["user"]["domain"] = {"name": "nowhere"}
    wrong["unknown domain"] = other
    away = password_auth("member", PASSWORD)
    away["auth"]["scope"] = {"domain": {"id": "default"}}
    wrong["no role in the domain"] = away
    system = password_auth("member", PASSWORD)
    system["auth"]["scope"] = {"system": {"all": True}}
    wrong["no role in the system"] = system
    bodies = set()
    for title, body in wrong.items():
        answer = cloud.send("POST", TOKENS, body)
        score.expect(title, answer, 401, MESSAGE)
        bodies.add(answer.body)
    score.must("all say the same", len(bodies) == 1, bodies)
    times = {}
    for title in ("wrong password", "unknown user"):
        times[title] = [took(cloud, wrong[title]) for _ in range(TRIES)]
    medians = {title: statistics.median(all_of) for title, all_of in times.items()}
    slow, fast = max(medians.values()), min(medians.values())
    score.must("all take as long", slow < SAME_CLASS * fast, medians)


def took(cloud, body):
    begun = time.perf_counter()
    cloud.send("POST", TOKENS, body)
    return time.perf_counter() - begun


# What a request for a token must not look like: title, body, status, words.
FORMS = [
    ("no auth", {}, 400, "auth"),
    ("no identity", {"auth": {}}, 400, "identity"),
    ("no methods", {"auth": {"identity": {}}}, 400, "methods"),
    ("methods a text", {"auth": {"identity": {"methods": "password"}}}, 400, "methods"),
    ("no password", {"auth": {"identity": {"methods": ["password"]}}}, 400, "password"),
    ("no user", {"auth": {"identity": {"methods": ["password"], "password": {}}}}, 400, "user"),
    ("no name", {"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}}, 400, "id or name"),
    ("no domain", {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "x", "password": "x"}}}}}, 400, "domain"),
    ("a number for a name", {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": 5}}}}}, 400, "name"),
    ("a password that is a number", {"auth": {"identity": {"methods": ["password"],
     "password": {"user": {"name": "x", "domain": {"id": "default"}, "password": 5}}}}}, 400, "password"),
    ("a scope of two", {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}},
     "scope": {"project": {"id": "x"}, "domain": {"id": "x"}}}}, 400, "scope"),
    ("a project without domain", {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}},
     "scope": {"project": {"name": "x"}}}}, 400, "domain"),
]  # fmt: skip


def forms(cloud, score):
    score.begin("forms of login")
    for title, body, status, *words in FORMS:
        score.expect(title, cloud.send("POST", TOKENS, body), status, *words)


def foreign():
    """A token in the right form, of another cloud's key."""
    signed = b"\x80" + struct.pack(">Q", int(time.time())) + os.urandom(16 + 96)
    token = signed + hmac.new(os.urandom(16), signed, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def altered(token):
    """The token with one letter changed, here and there."""
    for at in range(0, len(token), max(1, len(token) // 24)):
        yield token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


def presented(cloud, score, scene):
    """Tokens that are none, to every service."""
    score.begin("tokens")
    member = scene.tokens["member"]
    no_tokens = {
        "none": None, "empty": "", "a word": "token", "foreign": foreign(), "cut short": member[:-9],
        "doubled": member + member, "very long": "x" * 9000, "not ASCII": "t\xf6ken", "admin": "ADMIN", "a UUID": "0123456789abcdef0123456789abcdef",
    }  # fmt: skip
    bodies = set()
    for path in LISTS:
        for title, token in no_tokens.items():
            answer = cloud.send("GET", path, token=token)
            score.expect(f"{title} for {path}", answer, 401, MESSAGE)
            bodies.add(answer.body)
    for token in altered(member):
        answer = cloud.send("GET", LISTS[0], token=token)
        score.expect("one letter changed", answer, 401, MESSAGE)
        bodies.add(answer.body)
    service = cloud.send("GET", LISTS[0], token=member, headers={"X-Service-Token": foreign()})
    score.expect("a service's token that is none", service, 401, MESSAGE)
    service = cloud.send("GET", LISTS[0], token=member, headers={"X-Service-Token": member})
    score.expect("a service's token of no service", service, 401, MESSAGE)
    score.must("all say the same", len(bodies) == 1, bodies)
    subject = cloud.send("GET", TOKENS, token=scene.tokens["admin"], headers={"X-Subject-Token": foreign()})
    score.expect("validate a foreign token", subject, 404)
    subject = cloud.send("GET", TOKENS, token=scene.tokens["admin"])
    score.expect("validate no token", subject, 404)
    others = cloud.send("GET", TOKENS, token=scene.tokens["stranger"], headers={"X-Subject-Token": member})
    score.expect("validate another's token", others, 403, "identity:validate_token")
    others = cloud.send("DELETE", TOKENS, token=scene.tokens["stranger"], headers={"X-Subject-Token": member})
    score.expect("revoke another's token", others, 403, "identity:revoke_token")


def over(cloud, score, scene):
    """Tokens that were good: of users and projects that are no more, or no longer may."""
    score.begin("tokens that were good")
    admin, things = scene.tokens["admin"], scene.things

    def gone(title, token):
        """Within a moment, for all services, and whoever looks next."""
        refused = lambda path: cloud.send("GET", path, token=token).status == 401
        cloud.until(title, lambda: all(map(refused, LISTS)))
        for path in LISTS:
            score.expect(f"{title}: {path}", cloud.send("GET", path, token=token), 401, MESSAGE)
        again = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}}
        score.expect(f"{title}: another one for it", cloud.send("POST", TOKENS, again), 401, MESSAGE)

    revoked = cloud.login(scene.prefix + "member", PASSWORD, scene.prefix + "home")
    cloud.ok("DELETE", TOKENS, token=revoked, headers={"X-Subject-Token": revoked})
    gone("revoked", revoked)
    cloud.ok("PATCH", f"{IDENTITY}/projects/{things['shut_project']}", {"project": {"enabled": False}}, token=admin)
    gone("of a disabled project", scene.tokens["locked"])
    answer = cloud.send("POST", TOKENS, password_auth(scene.prefix + "locked", PASSWORD, scene.prefix + "shut"))
    score.expect("login to a disabled project", answer, 401, MESSAGE)
    cloud.ok("PATCH", f"{IDENTITY}/users/{things['doomed_user']}", {"user": {"enabled": False}}, token=admin)
    gone("of a disabled user", scene.tokens["doomed"])
    answer = cloud.send("POST", TOKENS, password_auth(scene.prefix + "doomed", PASSWORD, scene.prefix + "home"))
    score.expect("login of a disabled user", answer, 401, MESSAGE)
    cloud.ok("DELETE", f"{IDENTITY}/users/{things['doomed_user']}", token=admin)
    gone("of a deleted user", scene.tokens["doomed"])
    role = f"{IDENTITY}/projects/{things['away_project']}/users/{things['stranger_user']}/roles/{scene.roles['member']}"
    cloud.ok("DELETE", role, token=admin)
    gone("of a role taken away", scene.tokens["stranger"])


def expired(cloud, score):
    """A token whose time is over, in a cloud where tokens live for a moment only."""
    score.begin("expired tokens")
    token = cloud.login(cloud.admin_name, cloud.admin_password, "admin")
    cloud.until("expired", lambda: cloud.send("GET", LISTS[0], token=token).status == 401)
    for path in LISTS:
        score.expect(path, cloud.send("GET", path, token=token), 401, MESSAGE)
    again = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}}
    score.expect("another one for it", cloud.send("POST", TOKENS, again), 401, MESSAGE)
