"""Who a request comes from, for revisions and the audit log: the signed-in person, or where an anonymous one called
from.

In: a request that `guard` has let through.  Out: text; never a secret. Cold.
"""

from starlette.requests import HTTPConnection

# Where the guard leaves what it found out: an accounts.Identity, or nothing where no credentials are asked for.
IDENTITY = "kongdp.identity"


def actor_of(request: HTTPConnection, channel: str = "admin API") -> str:
    """The user's name, else the channel and the address."""
    identity = request.scope.get(IDENTITY)
    if identity is not None:
        return str(identity.name)
    peer = request.client.host if request.client is not None else "unix socket"
    return f"{channel} ({peer})"


def may_see(request: HTTPConnection, group_id: str) -> bool:
    """Whether the caller may look into a group; where no credentials are asked for, everyone may."""
    identity = request.scope.get(IDENTITY)
    return identity is None or bool(identity.may("viewer", group_id))
