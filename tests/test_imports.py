"""The import rule, held where it counts: what each process really has in memory, and the contracts of pyproject.toml.

import-linter reads sources and sees imports inside functions; a fresh interpreter sees what third-party packages bring along. Each
process is imported in a subprocess of its own. Source: architecture, section 4.
"""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT_S = 60

# Prints every module in memory after importing the one that is named.
PROBE = "import sys, json; __import__(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"

# What belongs to everybody: the start of an interpreter with an editable install, and Cython's runtime.
NO_PACKAGE = {"__main__", "__mp_main__", "cython_runtime"}

WORKER = "kongdp.process.worker"
AGENT = "kongdp.process.agent"
SUPERVISOR = "kongdp.process.supervisor"
CONTROL_PLANE = "kongdp.controlplane.server"
COMMAND_LINE = "kongdp.cli.main"

DATABASE_AND_CONSOLE = ("sqlalchemy", "alembic", "psycopg", "fastapi", "nicegui", "jinja2", "argon2")

# process -> modules that it must never have, whatever brings them: itself or something below it
FORBIDDEN = {
    WORKER: (
        "kongdp.sync",
        "kongdp.controlplane",
        "kongdp.adminapi",
        "kongdp.cli",
        "starlette",
        "uvicorn",
        "wsproto",
        "cryptography",
        "yaml",
        "prometheus_client",
        *DATABASE_AND_CONSOLE,
    ),
    AGENT: ("kongdp.controlplane", "kongdp.cli", "kongdp.proxy", *DATABASE_AND_CONSOLE),
    SUPERVISOR: ("kongdp.cli", "uvloop", "httptools", "re2", "cryptography", "yaml", "starlette", "uvicorn", "wsproto"),
    CONTROL_PLANE: (
        "kongdp.proxy",
        "kongdp.upstream",
        "kongdp.balancer",
        "kongdp.process",
        "kongdp.http1",
        "kongdp.cli",
        "kongdp.sync.client",
        "kongdp.sync.session",
        "kongdp.sync.cache",
        "httptools",
    ),
    COMMAND_LINE: ("asyncio", "kongdp.process", "kongdp.controlplane", "kongdp.settings", *DATABASE_AND_CONSOLE),
}

# process -> third-party packages that it may have. A longer list is a decision: memory in every worker, or in the
# process that must never fail.
PACKAGES = {
    WORKER: {"uvloop", "httptools", "orjson", "re2"},
    SUPERVISOR: {"orjson"},
    COMMAND_LINE: set(),
}

# process -> rooms that it may have
ROOMS = {
    SUPERVISOR: {"errors", "files", "process", "settings"},
    COMMAND_LINE: {"cli"},
}


@dataclass(frozen=True)
class Loaded:
    """What an interpreter has in memory."""

    modules: frozenset[str]

    def under(self, name: str) -> set[str]:
        """The module or package, and what is in it."""
        return {module for module in self.modules if module == name or module.startswith(f"{name}.")}

    @property
    def packages(self) -> set[str]:
        """Third-party top-level packages, without their private parts."""
        names = {module.partition(".")[0] for module in self.modules} - sys.stdlib_module_names - NO_PACKAGE
        return {name for name in names if not name.startswith("_")} - {"kongdp"}

    @property
    def rooms(self) -> set[str]:
        # `compiled` decides for the package, in every process, what the other modules are loaded from
        return {module.split(".")[1] for module in self.modules if module.startswith("kongdp.")} - {"compiled"}


@functools.cache
def load(module: str) -> Loaded:
    """Import a module in a fresh interpreter that stands outside the checkout."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE, module], capture_output=True, text=True, timeout=LIMIT_S, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return Loaded(frozenset(json.loads(done.stdout)))


@pytest.mark.parametrize("process", FORBIDDEN)
def test_processes_have_nothing_in_memory_that_is_not_theirs(process: str) -> None:
    """Neither a process nor anything below it imports what belongs to another process."""
    found = {name: sorted(load(process).under(name)) for name in FORBIDDEN[process]}
    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.parametrize("process", PACKAGES)
def test_processes_have_only_packages_that_were_decided_on(process: str) -> None:
    """A worker has four third-party packages, the supervisor one, the command line none until a command asks."""
    assert load(process).packages <= PACKAGES[process]


@pytest.mark.parametrize("process", ROOMS)
def test_processes_have_only_rooms_that_were_decided_on(process: str) -> None:
    """The supervisor touches no traffic and no configuration; the command line loads a command when it is asked for."""
    assert load(process).rooms <= ROOMS[process]


def test_control_plane_has_words_of_other_rooms_but_no_machinery() -> None:
    """Of sync its messages, of plugins their settings, nothing that handles traffic."""
    loaded = load(CONTROL_PLANE)
    assert loaded.under("kongdp.sync") <= {"kongdp.sync", "kongdp.sync.messages"}
    assert [module for module in loaded.under("kongdp.plugins") if module.endswith(".handler")] == []


def test_worker_has_what_it_needs() -> None:
    """The tests above look at a worker that really is one: it has proxy, router and counters in memory."""
    assert {"proxy", "http1", "routing", "upstream", "balancer", "telemetry"} <= load(WORKER).rooms


def test_import_contracts_hold() -> None:
    """lint-imports finds no import that runs the wrong way, inside functions too."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
