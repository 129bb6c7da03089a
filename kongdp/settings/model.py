"""The settings value: every section in one frozen object, its JSON form, and its form for people's eyes.

In: nothing but values (loading.py makes them).  Out: Settings.  Children of the supervisor rebuild it with
`from_json`, so that all processes of a generation work with the same settings whatever happens to the file meanwhile.
Cold.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kongdp.settings.node import ListenSettings, LogSettings, NameSettings, NodeSettings
from kongdp.settings.paths import Paths
from kongdp.settings.proxying import LimitSettings, ProxySettings, UpstreamSettings
from kongdp.settings.rows import ROW, Row
from kongdp.settings.security import (
    CIPHER_SUITES,
    CipherSuite,
    ControlPlaneSettings,
    EnrolmentSettings,
    HybridSettings,
    TlsSettings,
)

MASK = "******"
SECTIONS: tuple[type, ...] = (
    NodeSettings,
    ListenSettings,
    LogSettings,
    ProxySettings,
    UpstreamSettings,
    LimitSettings,
    NameSettings,
    TlsSettings,
    HybridSettings,
    EnrolmentSettings,
    ControlPlaneSettings,
)


# No slots: classes with slots cannot be combined, and there is one such object in a process.
@dataclass(frozen=True, kw_only=True)
class Settings(
    NodeSettings,
    ListenSettings,
    LogSettings,
    ProxySettings,
    UpstreamSettings,
    LimitSettings,
    NameSettings,
    TlsSettings,
    HybridSettings,
    EnrolmentSettings,
    ControlPlaneSettings,
):
    """All settings of a node, valid together. Attribute names are the settings' names.

    `warnings` are for the log at start; `given` names what the operator set (anything else is a default); `references`
    names what came from a vault and is therefore secret.
    """

    warnings: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def paths(self) -> Paths:
        """Where this node keeps its state."""
        return Paths(Path(self.prefix))

    @property
    def tls(self) -> CipherSuite:
        """Versions and ciphers of TLS listeners as ssl_cipher_suite and its companions have it."""
        if self.ssl_cipher_suite != "custom":
            return CIPHER_SUITES[self.ssl_cipher_suite]
        return CipherSuite(self.ssl_protocols, self.ssl_ciphers or "", self.ssl_prefer_server_ciphers)

    def to_json(self) -> bytes:
        """Everything, secrets too: for child processes only."""
        return json.dumps({item.name: getattr(self, item.name) for item in fields(self)}, default=_plain).encode()

    def to_plain(self) -> dict[str, Any]:
        """What `to_json` writes, as plain values, to stand inside another JSON object."""
        plain: dict[str, Any] = json.loads(self.to_json())
        return plain

    def secrets(self) -> tuple[str, ...]:
        """Every secret value that is set, for redaction in logs."""
        values = [getattr(self, name) for name, row in ROWS.items() if row.secret or name in self.references]
        flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
        return tuple(item for item in flat if isinstance(item, str) and item)

    @classmethod
    def from_json(cls, data: bytes | str | Mapping[str, Any]) -> "Settings":
        """The value that `to_json` wrote, from its bytes or already parsed."""
        raw: dict[str, Any] = dict(data) if isinstance(data, Mapping) else json.loads(data)
        values: dict[str, Any] = {name: row.kind.revive(raw.pop(name)) for name, row in ROWS.items()}
        values.update((name, tuple(value)) for name, value in raw.items())
        return cls(**values)

    def masked(self) -> dict[str, Any]:
        """Plain values for logs and APIs; secrets that are set read ******."""
        values = self.to_plain()
        for name in (name for name, row in ROWS.items() if row.secret or name in self.references):
            if values[name]:
                values[name] = MASK
        for name in ("warnings", "given", "references"):
            del values[name]
        return values


def _plain(value: Any) -> Any:
    return value.to_json()


ROWS: Mapping[str, Row] = {
    item.name: item.metadata[ROW] for section in SECTIONS for item in fields(section) if ROW in item.metadata
}
KEYS: Mapping[str, str] = {key: name for name, row in ROWS.items() for key in (name, *row.aliases)}
