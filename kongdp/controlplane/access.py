"""Who may do what: roles, the identity behind a request, and the one table of what a path asks for.

In: method and path of a request; an identity.  Out: which role it takes, for the whole control plane or for one group.
Pure: no database, no HTTP. House rule: a path that is in no table below asks for a role of the whole control plane, so
that a new endpoint is closed until someone opens it. Cold.
Source: ours; walkthrough section 1 knows teams with roles per entity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Each may do what the ones before it may.
ROLES = ("none", "viewer", "editor", "admin")
RANKS = {role: rank for rank, role in enumerate(ROLES)}
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
DEFAULT = "default"
GROUPS = "/v2/control-planes"
# Read and changed by whoever may edit a group's configuration; anything else below a group is its admins'.
EDITED = frozenset(("core-entities", "config", "revisions"))
# Answered to anyone: signing in, and what a load balancer or a generator of clients asks.
OPEN = frozenset(("/v2/session", "/v2/health", "/v2/ready", "/v2/openapi.json"))
# Tell each caller only of the groups that they may see.
FILTERED = (GROUPS, "/v2/live")
# One's own tokens and password.
OWN = ("/v2/tokens", "/v2/me")
ADMINS = ("/v2/users", "/v2/audit")
# Whoever may make one can sign in as that developer.
PASSWORD_LINKS = ("/v2/portal/developers/", "/password-link")


@dataclass(frozen=True, slots=True)
class Need:
    """What a request takes. `role` None: anyone, signed in or not. `group` (id or name) None: the whole control plane."""

    role: str | None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is behind a request. `roles`: by group id; `limit` and `groups` are a token's; `via` says how it was shown."""

    user_id: str
    name: str
    role: str
    roles: Mapping[str, str] = field(default_factory=dict)
    limit: str = "admin"
    groups: frozenset[str] | None = None
    via: str = "session"

    def rank(self, group_id: str | None) -> int:
        """What it may do in a group, or (None) in the whole control plane."""
        own = RANKS[self.role]
        if group_id is not None:
            own = max(own, RANKS[self.roles.get(group_id, "none")])
        if self.groups is not None and group_id not in self.groups:
            own = 0
        return min(own, RANKS[self.limit])

    def may(self, role: str, group_id: str | None) -> bool:
        """Whether it has at least this role there."""
        return self.rank(group_id) >= RANKS[role]


def need_of(method: str, path: str) -> Need:
    """What a request takes. `path` is decoded, as the router matches it."""
    plain = path.rstrip("/") or "/"
    if plain in OPEN:
        return Need(None)
    if _is_below(plain, OWN):
        return Need("none")
    if _is_below(plain, ADMINS) or (plain.startswith(PASSWORD_LINKS[0]) and plain.endswith(PASSWORD_LINKS[1])):
        return Need("admin")
    usual = "viewer" if method in SAFE else "editor"
    if plain in FILTERED:
        return Need("none" if method in SAFE else "admin")
    if plain.startswith(GROUPS + "/"):
        parts = plain.split("/")
        is_edited = len(parts) > 4 and parts[4] in EDITED
        return Need(usual if method in SAFE or is_edited else "admin", parts[3])
    if plain.startswith("/v2/"):
        return Need(usual)
    return Need(usual, DEFAULT)


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)
