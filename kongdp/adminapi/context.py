"""What handlers of the Admin API are given: the store, the collections, and facts of the node.

Values only; who mounts the API makes a NodeInfo and hands it in.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from kongdp.adminapi.messages import Request, Response
from kongdp.adminapi.resources import Resources
from kongdp.adminapi.store import Store
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.entities.table import Row, Table

# upstream row, target rows -> target id -> (health, data), as GET /upstreams/{u}/health shows them
TargetHealth: TypeAlias = Callable[[Row, Sequence[Row]], Mapping[str, tuple[str, Mapping[str, Any]]]]
# configuration and its hash -> the table now in force; raises DeclarativeError, or ApiError for a load that did not
# happen
ApplyConfig: TypeAlias = Callable[[Mapping[str, Any], str], Table | Awaitable[Table]]


class LogLevel(Protocol):
    """How much a node logs."""

    @property
    def now(self) -> str:
        """The level in force, by Kong's name."""

    def change(self, level: str, timeout_s: float) -> None:
        """Another level for so many seconds."""

    def change_everywhere(self, level: str, timeout_s: float) -> None:
        """The same here and at the other nodes over this database."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What the Admin API says about the node it runs on, and what it may ask of it.

    `configuration`: the node's settings without secrets. `plugins`: those this node has; `plugin_versions` as `/` shows
    them (name -> {"version", "priority"}). Without a database, `apply_config` serves POST /config and `config_hash`
    says which is in force; with one, `log_level` may be changed.
    """

    node_id: str
    version: str
    hostname: str = "localhost"
    server: str = "kongdp"
    edition: str = "community"
    plugins: Mapping[str, PluginSchema] = field(default_factory=dict)
    plugin_versions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    pids: Mapping[str, Any] = field(default_factory=dict)
    target_health: TargetHealth | None = None
    apply_config: ApplyConfig | None = None
    config_hash: Callable[[], str] | None = None
    log_level: LogLevel | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What handlers work with."""

    store: Store
    resources: Resources
    info: NodeInfo
    paths: Sequence[str]

    def schema(self, name: str) -> Schema | None:
        """The schema of a collection."""
        return self.resources.schemas.get(name)


# context, request, values of the names in the path -> response
Handler: TypeAlias = Callable[[Context, Request, Mapping[str, str]], Response | Awaitable[Response]]
