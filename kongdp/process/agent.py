"""The agent: everything of a node that is not traffic. Sync, certificates, configuration, counters, the status and
Admin APIs.

`python -m kongdp.process.agent --spec-fd N`: the spec comes from the supervisor (settings, sockets, segments,
lifeline). In: pushes of the control plane, or a file and POST /config; segments of the workers.  Out: configurations
to workers, counters to the control plane, HTTP answers about the node.
House rules: the agent may pause, fail and be replaced at any time; traffic does not notice, and what only it knew is
on disk. Heavy work runs in the pipeline's thread. This file only puts the rooms together and ends them in order.
Cold: at low scheduling priority beside the workers. Source: architecture, section 7.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from kongdp import KONG_VERSION
from kongdp.certs.contexts import CertificateError
from kongdp.certs.selfsigned import ensure_default_pairs
from kongdp.entities.hashing import EMPTY_HASH
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.files import remove_abandoned
from kongdp.plugins.base import PluginError
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from kongdp.plugins.registry import enabled
from kongdp.process import agent_sources, logs
from kongdp.process.agent_apis import Apis
from kongdp.process.agent_counters import Counters
from kongdp.process.agent_pipeline import Applied, Candidate, Outcome, Passed, Pipeline, PipelineOptions, Rejected
from kongdp.process.agent_trust import ProxyError, Trust, endpoints
from kongdp.process.agent_workers import Workers
from kongdp.process.channel import ChannelServer
from kongdp.process.lifeline import Lifeline, LifelineWatch, Received
from kongdp.process.spec import read_spec
from kongdp.settings import Paths, Settings
from kongdp.sync import client as sync_client
from kongdp.sync.client import SyncClient, SyncOptions
from kongdp.sync.counters import CountersClient
from kongdp.sync.handshake import NodeName
from kongdp.sync.messages import BasicInfo, PluginVersion, encode_basic_info
from kongdp.sync.session import End

log = logging.getLogger("kongdp.agent")

NICENESS = 5
"""Workers go first when the machine is busy: a configuration that arrives a little later costs nobody a request."""

FIRST_SYNC_WAIT_S = 30.0
"""How long the first connection waits for the workers to serve the cached configuration, so that the first ping
carries its hash.
"""

LAST_PUSH_S = 2.0
"""How long the end waits for the control plane to acknowledge the last counters; what is left goes to disk."""


class Agent:
    """The role. `run` lives as long as the process."""

    def __init__(self, spec: Mapping[str, Any], settings: Settings, lifeline: Lifeline) -> None:
        self._spec = spec
        self._settings = settings
        self._lifeline = lifeline
        self.is_data_plane = settings.role == "data_plane"
        self._stopping = asyncio.Event()
        self._is_orphan = False
        self._failure: BaseException | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.workers = Workers(self._workers_changed)
        self.plugins = installed_plugins(settings)
        options = PipelineOptions(
            settings.paths.configuration_cache,
            settings.router_flavor,
            self.plugins,
            settings.route_match_calculation,
        )
        self.pipeline = Pipeline(options, self.workers, self._in_force)
        self.counters = Counters(
            settings.paths.counters, spec["node_id"], spec["boot_id"], keeps_samples=self.is_data_plane
        )
        self._endpoints = endpoints(settings)
        self.trust = Trust(settings, spec["node_id"], on_renewed=self._certificate_renewed)
        self.sync: SyncClient | None = None
        self.push: CountersClient | None = None
        self._channel = ChannelServer(
            spec["channel_fd"], on_message=self.workers.on_message, on_close=self.workers.on_close
        )
        self._watch = LifelineWatch(
            lifeline,
            asyncio.get_running_loop(),
            on_end=self._supervisor_gone,
            on_message=self._supervisor_said,
        )
        self._apis = Apis(self)

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the supervisor said."""
        return self._spec

    @property
    def settings(self) -> Settings:
        """The node's settings."""
        return self._settings

    async def run(self) -> int:
        """Serve until told to end; the exit code."""
        self._watch.start()
        remove_abandoned(*written_files(self._settings.paths))
        await self._make_default_certificates()
        for entry in self._spec["segments"]:
            self.counters.attach(entry["index"], entry["generation"], entry["fd"])
        self._channel.start()
        self._spawn(self.pipeline.run(), "configuration pipeline")
        self._spawn(self._tick_forever(), "agent ticks")
        await self._apis.start()
        first = self._spawn(self._first_configuration(), "first configuration")
        self._lifeline.ready()
        if self.is_data_plane:
            self._spawn(self._synchronise(first), "sync")
        await self._stopping.wait()
        await self._end()
        return 1 if self._failure is not None else 0

    def stop(self) -> None:
        """End in order; `run` returns."""
        self._stopping.set()

    # -- start

    def install_signals(self) -> None:
        """SIGTERM and SIGQUIT end the agent, SIGUSR1 opens logs again, the others are the supervisor's."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGQUIT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGUSR1, logs.reopen_logs)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the supervisor decides what these mean

    async def _make_default_certificates(self) -> None:
        """Before the first worker is answered: it reads them when it begins to accept."""
        settings = self._settings
        listeners = (*settings.proxy_listen, *settings.admin_listen, *settings.status_listen)
        if settings.ssl_cert or not any(listener.ssl for listener in listeners):
            return
        try:
            await asyncio.to_thread(ensure_default_pairs, settings.paths.ssl)
        except OSError as error:
            self._lifeline.fail(f"ssl_cert: the default certificate cannot be made in {settings.paths.ssl}: {error}")

    async def _first_configuration(self) -> None:
        """What the node serves before anybody tells it anything: a data plane its cache, a DB-less node its file."""
        settings = self._settings
        kept = [agent_sources.from_cache(settings.paths.configuration_cache)]
        given = self._given_configuration()
        for candidate in [*kept, *given] if self.is_data_plane else [*given, *kept]:
            outcome = await self.pipeline.submit(candidate)
            if isinstance(outcome, Applied):
                return
            if candidate in given and not self.is_data_plane:
                self._lifeline.fail(f"declarative_config: {_why(outcome)}")
        self._apis.unconfigured()
        if self.workers.target_hash == EMPTY_HASH:
            self.workers.open()

    def _given_configuration(self) -> list[Candidate]:
        settings = self._settings
        if settings.declarative_config:
            return [agent_sources.from_file(Path(settings.declarative_config))]
        if settings.declarative_config_string:
            return [agent_sources.from_text(settings.declarative_config_string, "declarative_config_string")]
        return []

    # -- sync

    async def _synchronise(self, first: asyncio.Task[Any]) -> None:
        """Get a certificate, then stay connected. The counters' push runs beside it and waits for the announcement."""
        await asyncio.wait([first], timeout=FIRST_SYNC_WAIT_S)
        await self.trust.obtain()
        settings = self._settings
        control_plane, telemetry = self._endpoints
        name = NodeName(self._spec["node_id"], socket.gethostname(), KONG_VERSION)
        options = SyncOptions(
            endpoint=control_plane,
            name=name,
            basic_info=encode_basic_info(basic_info(settings)),
            bytes_max=settings.cluster_max_payload,
            konnect_mode=settings.konnect_mode,
        )
        self.push = CountersClient(telemetry, name, self.counters.samples, context=self.trust.context)
        self.sync = SyncClient(
            options,
            context=self.trust.context,
            apply=self._apply,
            hash_in_force=lambda: self.pipeline.in_force,
            on_announcement=self.push.announced,
            on_renewal_wanted=self.trust.renew_now,
        )
        self._spawn(self.push.run(), "counter push")
        await self.sync.run()

    async def _apply(self, frame: bytes) -> sync_client.Outcome:
        outcome = await self.pipeline.submit(agent_sources.from_control_plane(frame))
        match outcome:
            case Applied():
                return outcome.hash
            case Rejected():
                return outcome.report
            case Passed():
                return None
            case _:
                return End(f"the control plane sent something that is no configuration: {outcome.reason}")

    def _in_force(self, config_hash: str) -> None:
        self._spawn(self._apis.refresh(), "labels")
        if self.sync is not None:
            self.sync.hash_changed(config_hash)

    def _workers_changed(self) -> None:
        self.pipeline.recheck()

    def _certificate_renewed(self) -> None:
        if self.sync is not None:
            self.sync.renew()
        if self.push is not None:
            self.push.reconnect()

    # -- once a second

    async def _tick_forever(self) -> None:
        while True:
            await self.count()
            self.trust.tick()
            if not self.pipeline.is_busy:
                gc.collect(1)
            await asyncio.sleep(1.0)

    async def count(self) -> None:
        """Read the segments, with turns of the loop between slices: a new agent's first look may take seconds."""
        push = self.push
        steps = self.counters.tick(is_connected=push is not None and push.state.is_connected)
        has_pending = False
        while True:
            try:
                next(steps)
            except StopIteration as end:
                has_pending = end.value
                break
            await asyncio.sleep(0)
        if has_pending and push is not None:
            push.poke()

    # -- the supervisor

    def _supervisor_said(self, received: Received) -> None:
        """New counter segments, with their descriptors."""
        if received.message.get("type") == "segments":
            for entry, fd in zip(received.message["segments"], received.descriptors, strict=False):
                self.counters.attach(entry["index"], entry["generation"], fd)
            return
        for fd in received.descriptors:
            os.close(fd)

    def _supervisor_gone(self) -> None:
        log.error("the supervisor is gone: leaving after the workers")
        self._is_orphan = True
        self._stopping.set()

    # -- end

    async def _end(self) -> None:
        """Workers first (an orphan waits for them), then the last counters, then the links."""
        if self._is_orphan:
            await self._workers_gone(self._settings.kongdp_drain_timeout_s)
        await self._push_last_counters()
        self.counters.refresh()
        self.counters.store()
        self.trust.close()
        await self._apis.stop()
        running = tuple(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._channel.close()
        self._watch.stop()
        self._lifeline.close()

    async def _workers_gone(self, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self._channel.peers:  # noqa: ASYNC110 - peers leave one by one, within seconds, once in a life
                    await asyncio.sleep(0.05)

    async def _push_last_counters(self) -> None:
        self.counters.refresh()
        push = self.push
        if push is None or not push.state.is_connected:
            return
        push.poke()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_PUSH_S):
                while self.counters.samples.count_pending() and push.state.is_connected:  # noqa: ASYNC110 - once in a life
                    await asyncio.sleep(0.02)

    def _spawn(self, coroutine: Any, name: str) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.create_task(coroutine, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)
        return task

    def _task_ended(self, task: "asyncio.Task[Any]") -> None:
        """A part of the agent failed by a fault of ours: end, so that the supervisor starts a fresh one. Traffic goes
        on.
        """
        if task in self._tasks:
            self._tasks.remove(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        if isinstance(error, SystemExit):
            return
        log.critical("%s ended", task.get_name(), exc_info=error)
        self._failure = error
        self._stopping.set()


def installed_plugins(settings: Settings) -> Mapping[str, PluginSchema]:
    """The plugins of this node, name -> schema. What is not among them refuses a configuration: a node that would let
    requests through without the authentication somebody configured must not serve it. Raises PluginError.
    """
    return {name: PLUGIN_SCHEMAS[name] for name in enabled(settings.plugins)}


def written_files(paths: Paths) -> tuple[Path, ...]:
    """Everything that an agent replaces whole; the last parts are patterns where the directory is the agent's alone."""
    return (paths.configuration_cache, paths.counters / "*", paths.certificates / "*", paths.ssl / "*")


def basic_info(settings: Settings) -> BasicInfo:
    """What the node says of itself to its control plane; secrets are masked."""
    return BasicInfo(
        plugins=tuple(PluginVersion(name, KONG_VERSION) for name in installed_plugins(settings)),
        process_conf=settings.masked(),
        labels=dict(settings.cluster_dp_labels),
    )


def _why(outcome: Outcome) -> str:
    match outcome:
        case Rejected(report, error):
            return "\n".join(error.lines()) if error is not None else report.message
        case _:
            return getattr(outcome, "reason", "it holds no configuration")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the process; returns its exit code."""
    parser = argparse.ArgumentParser(prog="kongdp.process.agent")
    parser.add_argument("--spec-fd", type=int, required=True)
    spec = read_spec(parser.parse_args(arguments).spec_fd)
    lifeline = Lifeline(spec["lifeline_fd"])
    settings = Settings.from_json(spec["settings"])
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    gc.disable()  # the tick collects what is young; tables are frozen where they are made (agent_pipeline)
    try:
        logs.configure_logs(settings, "agent")
    except logs.LogTargetError as error:
        lifeline.fail(f"proxy_error_log: {error}")

    async def live() -> int:
        try:
            agent = Agent(spec, settings, lifeline)
        except CertificateError as error:
            lifeline.fail(f"cluster_cert: {error}")
        except ProxyError as error:
            lifeline.fail(str(error))
        except PluginError as error:
            lifeline.fail(f"plugins: {error}")
        agent.install_signals()
        return await agent.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(live())


if __name__ == "__main__":
    sys.exit(main())
