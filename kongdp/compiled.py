"""Which modules of the request path are compiled, and when their Python source serves instead.

The modules named here are plain Python that Cython also compiles (setup.py), with the `.pxd` file beside a module giving types to its
attributes. They are compiled together or not at all, because compiled classes know each other's layout. `choose` runs when the package
is imported, before any of them: the sources serve when an extension is missing, when KONGDP_PURE is set, and when a checkout's
extensions were not built from the sources that stand beside them, so that nobody debugs code that does not run.
Cold. Knows no other module of the package: setup.py and .ci/setup run this file by its path.
"""

import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from os import environ
from pathlib import Path

MODULES = (
    "kongdp._join",
    "kongdp._monotonic",
    "kongdp.http1._head",
    "kongdp.http1._lines",
    "kongdp.http1.chunks",
    "kongdp.http1.fields",
    "kongdp.http1.framing",
    "kongdp.http1.head",
    "kongdp.http1.messages",
    "kongdp.http1.parser",
    "kongdp.http1.scan",
    "kongdp.http1.target",
    "kongdp.http1.writer",
    "kongdp.telemetry.counters",
    "kongdp.balancer.round_robin",
    "kongdp.plugins.acl.handler",
    "kongdp.plugins.authentication",
    "kongdp.plugins.basic_auth.handler",
    "kongdp.plugins.bot_detection.handler",
    "kongdp.plugins.correlation_id.handler",
    "kongdp.plugins.cors.handler",
    "kongdp.plugins.fields",
    "kongdp.plugins.ip_restriction.handler",
    "kongdp.plugins.key_auth.handler",
    "kongdp.plugins.rate_limiting.handler",
    "kongdp.plugins.rates",
    "kongdp.plugins.request_size_limiting.handler",
    "kongdp.plugins.request_transformer.handler",
    "kongdp.plugins.response_transformer.handler",
    "kongdp.routing.base",
    "kongdp.routing.path_handling",
    "kongdp.upstream.connection",
    "kongdp.upstream.destination",
    "kongdp.upstream.pool",
    "kongdp.proxy.addresses",
    "kongdp.proxy.answers",
    "kongdp.proxy.downstream",
    "kongdp.proxy.environment",
    "kongdp.proxy.exchange",
    "kongdp.proxy.forward",
    "kongdp.proxy.plan",
    "kongdp.proxy.plugin_run",
    "kongdp.proxy.relay",
    "kongdp.proxy.respond",
    "kongdp.proxy.tls_connection",
    "kongdp.proxy.tries",
    "kongdp.proxy.tunnel",
    "kongdp.proxy.ways",
)

PURE = "KONGDP_PURE"
"""Environment variable: set to anything but 0, the Python sources serve. For tests and comparisons."""

_PACKAGE = Path(__file__).resolve().parent
STAMP = _PACKAGE / "_compiled_from"
"""In a checkout: the digest of the sources that the extensions beside them were built from. Not part of a wheel."""

why_not = ""
"""Why the sources serve, for `kongdp version`; empty when the modules are compiled."""


def digest() -> str:
    """A digest of everything that the extensions are made of."""
    found = sha256()
    setup = _PACKAGE.parent / "setup.py"
    for path in (*([setup] if setup.exists() else ()), *sources()):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def sources() -> list[Path]:
    """Every source file of the compiled modules that exists: .py or .pyx, and .pxd."""
    stems = [_stem(name) for name in MODULES]
    return [path for stem in stems for suffix in (".py", ".pyx", ".pxd") if (path := stem.with_suffix(suffix)).exists()]


def extension_of(name: str) -> Path | None:
    """The compiled file of a module, or None when there is none for this interpreter."""
    stem = _stem(name)
    for suffix in EXTENSION_SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.exists():
            return path
    return None


def choose() -> None:
    """Decide what serves; called once, by the package."""
    global why_not
    why_not = _why_not()
    if why_not:
        sys.meta_path.insert(0, _SourceFinder())


def _why_not() -> str:
    if environ.get(PURE, "0") not in ("", "0"):
        return f"{PURE} is set"
    missing = [name for name in MODULES if extension_of(name) is None]
    if missing:
        return (
            "not built (no compiler or no Cython at installation)" if len(missing) == len(MODULES) else "not all built"
        )
    if STAMP.exists() and STAMP.read_text() != digest():
        print(
            "kongdp: compiled modules are older than their sources, which serve instead; run .ci/setup", file=sys.stderr
        )
        return "older than their sources"
    return ""


def _stem(name: str) -> Path:
    return _PACKAGE.joinpath(*name.split(".")[1:])


class _SourceFinder:
    """Finds the modules named here by their Python source alone."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """A spec for a module of MODULES, None for any other; the kernel, which has no Python source, is not found."""
        if name not in MODULES:
            return None
        source = _stem(name).with_suffix(".py")
        if not source.exists():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec_from_file_location(name, source)


if __name__ == "__main__":  # .ci/setup asks whether the extensions must be built again
    sys.exit(not STAMP.exists() or STAMP.read_text() != digest())
