"""One module a screen. Naming a module here registers its pages; `missing` takes every other address, so it is last."""

from kongdp.controlplane.console.screens import (  # isort: skip
    overview,
    service_hub,
    service,
    version,
    runtimes,
    group,
    configure_runtime,
    node,
    certificates,
    missing,
)

__all__ = [
    "certificates",
    "configure_runtime",
    "group",
    "missing",
    "node",
    "overview",
    "runtimes",
    "service",
    "service_hub",
    "version",
]
