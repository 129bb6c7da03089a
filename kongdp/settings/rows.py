"""How a setting is declared: `name: type = setting(kind, default, help)` in a section class of this package.

One declaration carries all there is to know about a setting: its type for the reader and for mypy, its kind (how text
is read), its default as an operator would write it, its unit and its help. Loading, `kongdp check` and
conf/kongdp.conf all walk these declarations.
Cold. The idea of one table is Datasette's.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from kongdp.settings.kinds import Kind

T = TypeVar("T")

ROW = "row"  # key of the declaration in a dataclass field's metadata
OWN_PREFIX = "kongdp_"


@dataclass(frozen=True, slots=True)
class Row:
    """A declaration. `aliases` are further keys, the later one wins where several are given in one place."""

    kind: Kind[Any]
    default: str
    help: str
    unit: str
    secret: bool
    aliases: tuple[str, ...]


def setting(
    kind: Kind[T],
    default: str,
    help: str,
    *,
    unit: str = "",
    secret: bool = False,
    aliases: tuple[str, ...] = (),
) -> T:
    """Declare a setting. An empty `default` is "unset" and needs a kind that has a value for it."""
    return cast(T, field(metadata={ROW: Row(kind, default, help, unit, secret, aliases)}))


def elsewhere(directive: str, *namespaces: str) -> tuple[str, ...]:
    """Keys that inject one nginx directive in other namespaces, outer ones first, because the inner one wins in
    nginx.
    """
    return tuple(f"nginx_{namespace}_{directive}" for namespace in namespaces)


def environment_name(name: str) -> str:
    """The environment variable of a setting."""
    return name.upper() if name.startswith(OWN_PREFIX) else f"KONG_{name.upper()}"
