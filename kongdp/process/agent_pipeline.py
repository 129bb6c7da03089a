"""The configuration pipeline: from bytes or a document to traffic on all workers, one candidate after the other.

In: candidates (a frame of the control plane, the cache, a file, POST /config).  Out: for each what became of it, and
`in_force`. Steps: read -> same hash? -> validate -> compile once as a rehearsal -> difference to workers -> all live
workers serve it -> cache by rename -> in force. House rules: newest wins (one candidate is being applied, at most one
waits); a rejected candidate never reaches a worker and changes nothing; the heavy steps run in one thread, so that
pings, beats and the status API go on. Nobody is told that a configuration is in force before it is on disk, and what a
worker refused never gets there; a crash between swap and rename starts the node with the configuration before, which
is the last one anybody was told of.
Cold. Source: architecture, section 6; protocol notes 2.4 and 2.7.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kongdp.entities import declarative
from kongdp.entities.declarative import DeclarativeError, Loaded
from kongdp.entities.hashing import EMPTY_HASH
from kongdp.entities.model import Plugin, Route
from kongdp.entities.schemas import build_schemas
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.entities.table import Change, Table
from kongdp.plugins.base import Node, PluginError
from kongdp.plugins.registry import PRIORITIES
from kongdp.plugins.registry import build as build_handler
from kongdp.process.agent_workers import Target, Workers
from kongdp.process.logs import NOTICE
from kongdp.routing.router import ORIGINAL, RouteError, Router, build, finish, judge
from kongdp.sync import cache
from kongdp.sync.messages import PARSE_FAILURE, PARSE_FAILURE_CODE, RELOAD_FAILURE, ErrorReport, Reconfigure

log = logging.getLogger("kongdp.agent")

T = TypeVar("T")

PLUGIN_SOURCE = "kongdp.plugins"
"""Source of a rejection by a plugin: settings that this node cannot honour."""

ERROR_LINES_MAX = 20
"""Offending paths that are logged one by one; a table with thousands of faults says how many more there are."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The configuration is in force on all live workers, or was so already."""

    hash: str
    was_new: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing has changed. `error` is there when validation refused the document."""

    report: ErrorReport
    error: DeclarativeError | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not a configuration at all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing was done: a message of another type, or a newer candidate took its place."""


Outcome = Applied | Rejected | Unreadable | Passed


class UnreadableError(Exception):
    """Raised by a candidate's `read`: the bytes are no configuration."""


@dataclass(slots=True, eq=False)
class Candidate:
    """A configuration to try. `read` runs in the pipeline's thread; it returns None for a message of another kind and
    raises UnreadableError or DeclarativeError. `frame`: the bytes to cache as they are. `is_cached`: it came from the
    cache. `is_written`: by an operator, so that a collection nobody knows is a mistake; a control plane may be newer.
    """

    origin: str
    read: Callable[[], Reconfigure | None]
    frame: bytes | None = None
    is_cached: bool = False
    is_written: bool = False
    outcome: "asyncio.Future[Outcome] | None" = field(default=None)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the thread worked out: everything that is needed to bring a valid configuration to workers."""

    message: Reconfigure
    loaded: Loaded
    router: Router
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How this node validates and where it keeps its cache (None: nowhere)."""

    cache_path: Path | None
    router_flavor: str = "traditional_compatible"
    plugins: Mapping[str, PluginSchema] | Container[str] | None = ()
    route_match_calculation: str = ORIGINAL


class Pipeline:
    """Owns the configuration in force. `run` never returns by itself; cancel it to stop."""

    def __init__(
        self, options: PipelineOptions, workers: Workers, on_in_force: Callable[[str], None] = lambda config_hash: None
    ) -> None:
        """`on_in_force` is told each hash once all live workers serve it."""
        self._options = options
        self._workers = workers
        self._on_in_force = on_in_force
        self.schemas = build_schemas(
            router_flavor=options.router_flavor, plugins=options.plugins, judge_expression=_judge_expression
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="configuration")
        self._waiting: Candidate | None = None
        self._wake = asyncio.Event()
        self._accepted_hash = EMPTY_HASH
        self._loaded = Loaded({})
        self._uncached: tuple[Candidate, Reconfigure] | None = None
        self._router: Router = build((), options.router_flavor, options.route_match_calculation)
        self._warned: set[str] = set()
        self.in_force = EMPTY_HASH
        self.is_busy = False
        self.last_rejection: ErrorReport | None = None

    @property
    def table(self) -> Table:
        """The newest accepted configuration's rows. Never modified, only replaced."""
        return self._loaded.table

    async def submit(self, candidate: Candidate) -> Outcome:
        """Try a configuration; returns when it is in force on all live workers, or what else became of it."""
        candidate.outcome = asyncio.get_running_loop().create_future()
        superseded, self._waiting = self._waiting, candidate
        if superseded is not None:
            _resolve(superseded, Passed())
        self._wake.set()
        return await candidate.outcome

    async def run(self) -> None:
        """Apply candidates, one at a time, always the newest."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                candidate, self._waiting = self._waiting, None
                if candidate is not None:
                    self.is_busy = True
                    outcome = await self._try(candidate)
                    self.is_busy = False
                    _resolve(candidate, outcome)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def recheck(self) -> None:
        """Workers have changed: what one of them could not apply may be in force now that another took its place."""
        workers = self._workers
        is_agreed = 0 < workers.count_live() == workers.count_serving()
        if is_agreed and not self.is_busy and self.in_force != self._accepted_hash:
            if self._uncached is not None:
                self._thread.submit(self._write_cache, *self._uncached)
            self._set_in_force(self._accepted_hash)

    async def _try(self, candidate: Candidate) -> Outcome:
        loop = asyncio.get_running_loop()
        config_hash = EMPTY_HASH
        try:
            message = await loop.run_in_executor(self._thread, _without_collector, candidate.read)
            if message is None:
                return Passed()
            config_hash = message.config_hash
            if config_hash == self._accepted_hash and config_hash == self.in_force:
                return Applied(config_hash, was_new=False)
            prepared = await loop.run_in_executor(
                self._thread, _without_collector, partial(self._prepare, message, candidate.is_written)
            )
        except UnreadableError as error:
            log.error("configuration from %s cannot be read: %s", candidate.origin, error)
            return Unreadable(str(error))
        except DeclarativeError as error:
            error.__traceback__ = None  # it would keep the whole configuration alive, in a cycle
            return self._reject(candidate, _validation_report(error, config_hash), error)
        except RouteError as error:
            return self._reject(candidate, ErrorReport(RELOAD_FAILURE, "kongdp.routing", str(error), config_hash))
        except PluginError as error:
            return self._reject(candidate, ErrorReport(RELOAD_FAILURE, PLUGIN_SOURCE, str(error), config_hash))
        except Exception as error:  # a boundary: a fault of ours in one configuration must not end the agent
            log.exception("configuration %s from %s", config_hash, candidate.origin)
            text = f"{type(error).__name__}: {error}"
            return self._reject(candidate, ErrorReport(RELOAD_FAILURE, "kongdp.process.agent", text, config_hash))
        return await self._bring(candidate, prepared)

    def _prepare(self, message: Reconfigure, is_written: bool) -> Prepared:
        """Runs in the thread. Reads `self` only, which nobody changes while a candidate is tried."""
        loaded = declarative.load_config(
            message.config_table,
            schemas=self.schemas,
            previous=self._loaded,
            strict=declarative.KONG_COLLECTIONS if is_written else False,
        )
        for warning in loaded.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("configuration: %s", warning)
        changes = tuple(declarative.difference(self._loaded.table, loaded.table))
        _rehearse_plugins(changes)
        return Prepared(message, loaded, _rehearse(self._router, loaded.table, changes), changes)

    def _write_cache(self, candidate: Candidate, message: Reconfigure) -> None:
        """Runs in the thread, one after the other: the newest is written last."""
        path = self._options.cache_path
        if path is None or candidate.is_cached:
            return
        try:
            cache.write(path, message, candidate.frame)
        except OSError as error:
            log.error("the configuration cannot be cached in %s: %s; a restart would not have it", path, error.strerror)

    async def _bring(self, candidate: Candidate, prepared: Prepared) -> Outcome:
        config_hash = prepared.message.config_hash
        base_hash = self._accepted_hash
        self._accepted_hash = config_hash
        self._loaded = prepared.loaded
        self._router = prepared.router
        self._uncached = (candidate, prepared.message)
        self._workers.set_target(Target(config_hash, prepared.loaded.table, base_hash, prepared.changes))
        failure = await self._workers.settled()
        if failure is not None:
            return self._reject(candidate, ErrorReport(RELOAD_FAILURE, "kongdp.process.worker", failure, config_hash))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._write_cache, candidate, prepared.message)
        log.log(
            NOTICE,
            "configuration %s from %s is in force: %d changes",
            config_hash,
            candidate.origin,
            len(prepared.changes),
        )
        self._set_in_force(config_hash)
        return Applied(config_hash, was_new=True)

    def _set_in_force(self, config_hash: str) -> None:
        self.in_force = config_hash
        self._uncached = None
        self.last_rejection = None
        self._on_in_force(config_hash)

    def _reject(self, candidate: Candidate, report: ErrorReport, error: DeclarativeError | None = None) -> Rejected:
        self.last_rejection = report
        log.error(
            "unable to update running config: bad config received from %s: %s", candidate.origin, report.message[:2000]
        )
        if error is not None:
            _log_lines(error.lines())
        return Rejected(report, error)


def _without_collector(work: Callable[[], T]) -> T:
    """Run without automatic garbage collection, and keep what was made out of later ones: rows have no cycles, and a
    full collection over a table of 100,000 routes would stop the agent's loop for a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _judge_expression(route: Mapping[str, Any]) -> str | None:
    return judge(route["expression"])


def _rehearse(router: Router, table: Table, changes: Iterable[Change]) -> Router:
    """Compile the routes that changed into the router of what workers serve. Raises RouteError for one that cannot
    be.
    """
    touched = {id_ for collection, id_, _ in changes if collection == "routes"}
    rows = table.get("routes", {})
    added = [Route.from_row(rows[id_]) for id_ in touched if id_ in rows]
    return finish(router.with_changes((id_ for id_ in touched if id_ in router), added))


def _rehearse_plugins(changes: Iterable[Change]) -> None:
    """Make the handlers of plugins that changed, and throw them away. Raises PluginError for one that cannot be.

    Plugins that no worker runs were refused by the schemas already.
    """
    node = Node()
    for collection, _, row in changes:
        if collection == "plugins" and row is not None and row["enabled"] and row["name"] in PRIORITIES:
            build_handler(Plugin.from_row(row), node)


def _validation_report(error: DeclarativeError, config_hash: str) -> ErrorReport:
    return ErrorReport(
        name=PARSE_FAILURE,
        source="kongdp.entities.declarative",
        message=str(error),
        config_hash=config_hash,
        code=PARSE_FAILURE_CODE,
        fields=error.unplaced,
        flattened_errors=tuple(error.flattened_errors),
    )


def _log_lines(lines: list[str]) -> None:
    for line in lines[:ERROR_LINES_MAX]:
        log.error("%s", line)
    if len(lines) > ERROR_LINES_MAX:
        log.error("... and %d lines more", len(lines) - ERROR_LINES_MAX)


def _resolve(candidate: Candidate, outcome: Outcome) -> None:
    if candidate.outcome is not None and not candidate.outcome.done():
        candidate.outcome.set_result(outcome)
