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
    spec,
    portal,
    missing,
)

__all__ = [
    "certificates",
    "configure_runtime",
    "group",
    "missing",
    "node",
    "overview",
    "portal",
    "runtimes",
    "service",
    "service_hub",
    "spec",
    "version",
]
