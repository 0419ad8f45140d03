"""Queries, versions and headers that make no sense."""

from .scene import COMPUTE, IDENTITY, IMAGE, NETWORK, VOLUME

QUERIES = [
    ("limit text", "member", f"GET {COMPUTE}/servers?limit=all", None, 400, "limit", "all"),
    ("limit below zero", "member", f"GET {COMPUTE}/servers?limit=-1", None, 400, "limit", "-1"),
    ("marker", "member", f"GET {COMPUTE}/servers?marker=$nothing", None, 400, "marker [$nothing] not found"),
    ("marker no id", "member", f"GET {COMPUTE}/servers/detail?marker=x", None, 400, "marker [x] not found"),
    ("sort key", "member", f"GET {COMPUTE}/servers?sort_key=colour", None, 400, "sort_key", "colour"),
    ("sort direction", "member", f"GET {COMPUTE}/servers?sort_key=uuid&sort_dir=up", None, 400, "sort_dir", "up"),
    ("filter unknown since 2.75", "member", f"GET {COMPUTE}/servers?colour=red", None, 400, "Additional properties are not allowed ('colour' was unexpected)"),
    ("changes since when", "member", f"GET {COMPUTE}/servers?changes-since=yesterday", None, 400, "changes-since", "yesterday"),
    ("status unknown", "member", f"GET {COMPUTE}/servers?status=flying", None, 400, "Invalid status value"),
    ("all tenants perhaps", "admin", f"GET {COMPUTE}/servers?all_tenants=perhaps", None, 400, "all_tenants", "perhaps"),
    ("flavor marker", "member", f"GET {COMPUTE}/flavors?marker=none", None, 400, "marker", "none"),
    ("flavor public", "admin", f"GET {COMPUTE}/flavors?is_public=perhaps", None, 400, "is_public", "perhaps"),
    ("flavor ram", "member", f"GET {COMPUTE}/flavors?minRam=much", None, 400, "min", "much"),
    ("flavor sort", "member", f"GET {COMPUTE}/flavors?sort_key=colour", None, 400, "sort_key", "colour"),
    ("key pair marker", "member", f"GET {COMPUTE}/os-keypairs?marker=none", None, 400, "marker", "none"),
    ("hypervisor limit", "admin", f"GET {COMPUTE}/os-hypervisors?limit=x", None, 400, "limit", "x"),
    ("image limit", "member", f"GET {IMAGE}/images?limit=all", None, 400, "limit param must be an integer"),
    ("image limit below zero", "member", f"GET {IMAGE}/images?limit=-1", None, 400, "limit param must be positive"),
    ("image marker", "member", f"GET {IMAGE}/images?marker=$nothing", None, 400, "$nothing"),
    ("image sort", "member", f"GET {IMAGE}/images?sort=colour:asc", None, 400, "colour"),
    ("image sort direction", "member", f"GET {IMAGE}/images?sort=name:up", None, 400, "up"),
    ("image sort twice", "member", f"GET {IMAGE}/images?sort=name&sort_key=name", None, 400),
    ("image size", "member", f"GET {IMAGE}/images?size_min=small", None, 400, "size_min"),
    ("image time", "member", f"GET {IMAGE}/images?created_at=gt:yesterday", None, 400, "yesterday"),
    ("image visibility", "member", f"GET {IMAGE}/images?visibility=hidden", None, 400, "hidden"),
    ("network limit", "member", f"GET {NETWORK}/networks?limit=all", None, 400, "BadRequest", "Limit must be an integer 0 or greater and not 'all'."),
    ("network marker", "member", f"GET {NETWORK}/networks?limit=2&marker=$nothing", None, 404, "NetworkNotFound", "$nothing"),
    ("network sort", "member", f"GET {NETWORK}/networks?sort_key=colour&sort_dir=asc", None, 400, "colour"),
    ("network sort direction", "member", f"GET {NETWORK}/networks?sort_key=name&sort_dir=up", None, 400, "up"),
    ("network sort halves", "member", f"GET {NETWORK}/networks?sort_key=name", None, 400, "sort_key", "sort_dir"),
    ("network filter", "member", f"GET {NETWORK}/networks?admin_state_up=perhaps", None, 400, "admin_state_up", "perhaps"),
    ("network field unknown", "member", f"GET {NETWORK}/networks?fields=colour", None, 200),
    ("volume limit", "member", f"GET {VOLUME}/volumes?limit=all", None, 400, "limit param must be an integer"),
    ("volume limit below zero", "member", f"GET {VOLUME}/volumes?limit=-1", None, 400, "limit param must be positive"),
    ("volume offset", "member", f"GET {VOLUME}/volumes?offset=x", None, 400, "offset", "x"),
    ("volume offset huge", "member", f"GET {VOLUME}/volumes?offset=99999999999999999999999", None, 400, "offset"),
    ("volume marker", "member", f"GET {VOLUME}/volumes?marker=$nothing", None, 404, "$nothing"),
    ("volume sort", "member", f"GET {VOLUME}/volumes?sort=colour:asc", None, 400, "colour"),
    ("volume sort direction", "member", f"GET {VOLUME}/volumes?sort=name:up", None, 400, "up"),
    ("identity enabled", "admin", f"GET {IDENTITY}/users?enabled=perhaps", None, 200),
    ("identity limit", "admin", f"GET {IDENTITY}/users?limit=x", None, 400, "limit", "x"),
    ("domain filter", "admin", f"GET {IDENTITY}/projects?domain_id=none", None, 200),
    ("bad escapes", "member", f"GET {COMPUTE}/servers?name=%ff%fe%zz", None, 200),
]  # fmt: skip

# (title, path, header, value, status, words)
VERSIONS = [
    ("too new", f"{COMPUTE}/servers", "OpenStack-API-Version", "compute 2.9999", 406,
     "Version 2.9999 is not supported by the API. Minimum is 2.1 and maximum is 2."),
    ("too old", f"{COMPUTE}/servers", "OpenStack-API-Version", "compute 1.1", 406, "Version 1.1 is not supported by the API."),
    ("no version", f"{COMPUTE}/servers", "OpenStack-API-Version", "compute two", 400,
     "API Version String two is of invalid format. Must be of format MajorNum.MinorNum."),
    ("the older header", f"{COMPUTE}/servers", "X-OpenStack-Nova-API-Version", "2.x", 400, "API Version String 2.x is of invalid format."),
    ("the newest", f"{COMPUTE}/servers", "OpenStack-API-Version", "compute latest", 200),
    ("of another service", f"{COMPUTE}/servers", "OpenStack-API-Version", "volume 9.9", 200),
    ("volume too new", f"{VOLUME}/volumes", "OpenStack-API-Version", "volume 3.9999", 406, "Version 3.9999 is not supported by the API."),
    ("volume no version", f"{VOLUME}/volumes", "OpenStack-API-Version", "volume three", 400, "API Version String three is of invalid format."),
]  # fmt: skip


def versions(cloud, score, tokens):
    """Every wrong version."""
    score.begin("versions")
    for title, path, header, value, status, *words in VERSIONS:
        answer = cloud.send("GET", path, token=tokens["member"], headers={header: value})
        score.expect(title, answer, status, *words)
        varies = ", ".join(answer.headers.get_all("Vary", []))
        score.must(f"{title}: Vary", "OpenStack-API-Version" in varies, varies)
