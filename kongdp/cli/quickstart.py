"""`kongdp quickstart`: the whole story on one machine, what `make run` calls.

Control plane, sample upstream, a service version with its route, a data plane that enrols and joins, one request
through it, and the record of that request coming back. Then everything stays up until Ctrl-C.
In: arguments (prefix, ports, --once).  Out: an exit code: 0 after the story, 1 with the reason, 130 when interrupted
before its end.
House rules: only public commands and APIs are used; whatever was started is stopped, in order, whatever happens;
every wait shows that it waits and ends with a reason.
Cold. Source: ours.
"""

import argparse
import asyncio
import contextlib
import errno
import signal
import socket
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable
from dataclasses import fields
from pathlib import Path
from typing import Final, TypeVar

from kongdp.cli.console import fail_all, say
from kongdp.cli.options import paths_of
from kongdp.cli.quickstart_plane import (
    GATEWAY_SERVICE,
    GROUP,
    LOCAL,
    PATH,
    ROUTE,
    SERVICE,
    VERSION,
    ControlPlane,
    Ports,
    StoryError,
    command,
    environment,
    request,
)
from kongdp.cli.sample_upstream import SampleUpstream
from kongdp.process import state
from kongdp.settings import Paths, SettingsError

T = TypeVar("T")

DEFAULTS: Final = Ports(
    proxy=8000, status=8007, admin=8001, cluster=8005, telemetry=8006, console=8002, portal=8003, upstream=0
)
OPENED: Final = ("proxy", "status", "admin", "cluster", "telemetry", "upstream")
"""Ports that must be free. Console and portal are the control plane's to complain about."""

WAIT_S: Final = 60.0
POLL_S: Final = 0.1
PROGRESS_S: Final = 2.0
INTERRUPTED: Final = 130


def run(arguments: argparse.Namespace) -> int:
    """Tell the story; the exit code. Options it knows: prefix, once, and `<name>_port` for each of Ports."""
    try:
        prefix = paths_of(arguments).prefix
    except SettingsError as error:
        return fail_all(error.problems)
    ports = Ports(**{item.name: _chosen_port(arguments, item.name) for item in fields(Ports)})
    return asyncio.run(_run(Quickstart(prefix, ports), once=getattr(arguments, "once", False)))


async def _run(quickstart: "Quickstart", *, once: bool) -> int:
    """Run the story as a task that a signal cancels; stop everything afterwards."""
    loop = asyncio.get_running_loop()
    story = asyncio.create_task(quickstart.tell(), name="story")
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted.set)
    waiting = asyncio.create_task(interrupted.wait())
    code = 0
    try:
        await asyncio.wait([story, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not story.done():
            say("\ninterrupted")
            code = INTERRUPTED
        elif story.exception() is None and not once:
            say("Everything stays up until Ctrl-C.")
            await quickstart.stay(interrupted)
        if story.done():
            story.result()
    except StoryError as error:
        code = fail_all(str(error).splitlines())
    finally:
        story.cancel()
        waiting.cancel()
        await asyncio.gather(story, waiting, return_exceptions=True)
        await quickstart.stop()
    return code


class Quickstart:
    """Everything the story starts, and the telling."""

    def __init__(self, prefix: Path, ports: Ports) -> None:
        self._prefix = prefix
        self._ports = ports
        self._began = time.monotonic()
        self._plane = ControlPlane(prefix / "control-plane", ports)
        self._upstream = SampleUpstream(ports.upstream)
        self._node_prefix = prefix / "data-plane"
        self._starting: Process | None = None
        self._node_was_started = False

    async def tell(self) -> None:
        """The story, a line for each thing that has happened. Raises StoryError."""
        ports = self._ports
        say(f"kongdp quickstart: everything is kept under {self._prefix}; Ctrl-C stops it.")
        await self._clear_leftovers()
        _require_free(ports)
        await self._start_control_plane()
        await self._start_upstream()
        version_id = await self._plane.make_example(self._upstream.url)
        self._done(
            f"Service {SERVICE}, version {VERSION} in runtime group {GROUP}: "
            f"implementation {self._upstream.url}, route {ROUTE} GET {PATH}"
        )
        await self._start_data_plane()
        await self._connect()
        seen = await self._plane.count_200s(version_id)
        await self._request_once(version_id, seen)
        self._say_next(version_id)

    async def stay(self, interrupted: asyncio.Event) -> None:
        """Keep everything up until a signal comes. Raises StoryError when the control plane ends by itself."""
        while not interrupted.is_set():
            self._plane.require_alive()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await interrupted.wait()
        say("")

    async def stop(self) -> None:
        """Stop what was started: data plane, control plane, upstream."""
        if self._starting is not None:
            await self._starting.wait()
        if self._node_was_started:
            say("stopping the data plane ...")
            await _finish(await _launch("stop", "-p", str(self._node_prefix)))
        await self._plane.stop()
        await self._upstream.stop()
        say("everything is stopped.")

    async def _clear_leftovers(self) -> None:
        """A data plane of an earlier quickstart that was killed still runs and has our ports: stop it."""
        if state.find_running(Paths(self._node_prefix)) is not None:
            say("stopping the data plane that an earlier quickstart left running ...")
            await _finish(await _launch("stop", "-p", str(self._node_prefix)))

    async def _start_control_plane(self) -> None:
        await self._plane.start()
        await self._until("the control plane to start", self._plane_ready)
        ports = self._ports
        self._done(
            f"Control plane: Admin API {self._plane.url}, data planes join at {LOCAL}:{ports.cluster}, "
            f"counters at {LOCAL}:{ports.telemetry}"
        )
        if self._plane.password is not None:
            user, password = self._plane.password
            say(f"       First start: user {user}, password {password} (shown only now)")
        say(f"       Console: http://{LOCAL}:{ports.console}")

    async def _plane_ready(self) -> bool | None:
        return self._plane.is_ready or None

    async def _start_upstream(self) -> None:
        try:
            await self._upstream.start()
        except OSError as error:
            raise StoryError(f"the sample upstream cannot listen: {error.strerror}; choose --upstream-port") from None
        self._done(f"Sample upstream: {self._upstream.url}")

    async def _start_data_plane(self) -> None:
        token, fingerprint = await self._plane.make_token()
        ports = self._ports
        settings = {
            "KONG_ROLE": "data_plane",
            "KONG_DATABASE": "off",
            "KONG_PROXY_LISTEN": f"0.0.0.0:{ports.proxy}",
            "KONG_STATUS_LISTEN": f"{LOCAL}:{ports.status}",
            "KONG_CLUSTER_CONTROL_PLANE": f"{LOCAL}:{ports.cluster}",
            "KONG_CLUSTER_TELEMETRY_ENDPOINT": f"{LOCAL}:{ports.telemetry}",
            "KONGDP_ENROLL_URL": f"https://{LOCAL}:{ports.cluster}",
            "KONGDP_ENROLL_TOKEN": token,
            "KONGDP_ENROLL_CA_FINGERPRINT": fingerprint,
        }
        self._node_was_started = True
        self._starting = await _launch("start", "-p", str(self._node_prefix), settings=settings)
        words = await _finish(self._starting)
        if self._starting.returncode != 0:
            raise StoryError(f"the data plane did not start:\n{words}")
        self._starting = None
        self._done(f"Data plane: proxy http://localhost:{ports.proxy}, status http://{LOCAL}:{ports.status}/status")

    async def _connect(self) -> None:
        """Wait until the node is Connected and in sync."""
        node_id = Paths(self._node_prefix).node_id.read_text().strip()

        async def is_in_sync() -> dict[str, object] | None:
            node = await self._plane.node(node_id)
            return node if node is not None and node["connected"] and node["in_sync"] else None

        node = await self._until("the data plane to enrol, connect and get its configuration", is_in_sync)
        expiry = time.strftime("%Y-%m-%d", time.gmtime(float(str(node["cert_expiry"] or 0))))
        self._done(
            f"Data plane {node_id} is Connected and in sync (configuration {str(node['config_hash'])[:8]}..., "
            f"its own certificate is valid until {expiry})"
        )

    async def _request_once(self, version_id: str, seen: int) -> None:
        began = time.monotonic()
        status, _ = await asyncio.to_thread(request, "GET", LOCAL, self._ports.proxy, PATH)
        took_ms = (time.monotonic() - began) * 1000
        asked = f"GET http://localhost:{self._ports.proxy}{PATH} -> {status}"
        if status != 200 and self._plane.password is None:
            # Not the first start: somebody went on from there, with another path or a key that is asked for.
            self._done(f"Request: {asked}; the service was changed since it was made (another --prefix begins anew)")
            return
        if status != 200:
            raise StoryError(f"GET {PATH} through the data plane answered {status} instead of 200")
        self._done(f"Request: {asked} from the upstream ({took_ms:.0f} ms)")

        async def is_recorded() -> int | None:
            count = await self._plane.count_200s(version_id)
            return count if count > seen else None

        count = await self._until("the record of the request", is_recorded)
        self._done(f"Record of {SERVICE} {VERSION}: status code 200, count {count}")

    async def _until(self, what: str, question: Callable[[], Awaitable[T | None]]) -> T:
        """Ask until there is an answer, saying every two seconds that we wait. Raises StoryError after a minute."""
        began = said = time.monotonic()
        while True:
            self._plane.require_alive()
            answer = await question()
            if answer is not None:
                return answer
            now = time.monotonic()
            if now - began > WAIT_S:
                logs = f"{self._plane.log_path}, {self._node_prefix}/logs/error.log"
                raise StoryError(f"waited {WAIT_S:.0f} s in vain for {what}; see {logs}")
            if now - said >= PROGRESS_S:
                said = now
                say(f"       ... waiting for {what} ({now - began:.0f} s)")
            await asyncio.sleep(POLL_S)

    def _done(self, what: str) -> None:
        say(f"{time.monotonic() - self._began:5.1f} s {what}")

    def _say_next(self, version_id: str) -> None:
        ports, admin = self._ports, self._plane.url
        proxy, status = f"http://localhost:{ports.proxy}", f"http://{LOCAL}:{ports.status}"
        steps = (
            ("the upstream's page (200)", f"curl -i {proxy}{PATH}"),
            ("the route takes GET only (404)", f"curl -i -X POST {proxy}{PATH}"),
            ("the version's record", f"curl {admin}/v2/catalogue/versions/{version_id}/status-codes"),
            ("another route ...", f"curl {admin}/services/{GATEWAY_SERVICE}/routes -d name=hello -d 'paths[]=/hello'"),
            ("... is live within a second", f"curl -i {proxy}/hello"),
            ("the data planes", f"curl {admin}/v2/control-planes/{GROUP}/nodes"),
            ("whether this one takes traffic", f"curl {status}/status/ready"),
            ("what Prometheus scrapes", f"curl {status}/metrics"),
        )
        lines = [f"  # {what}\n  {how}" for what, how in steps]
        say("\n".join(["", "That was the whole journey. Try next:", "", *lines, ""]))


def _chosen_port(arguments: argparse.Namespace, name: str) -> int:
    """The port of an option, its default, or for 0 any free one (the upstream finds its own)."""
    given = getattr(arguments, f"{name}_port", None)
    port = int(getattr(DEFAULTS, name) if given is None else given)
    if port != 0 or name == "upstream":
        return port
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


def _require_free(ports: Ports) -> None:
    """Raises StoryError with a line for each port that somebody else has, naming the option that changes it."""
    problems = []
    for name in OPENED:
        port = getattr(ports, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0" if name == "proxy" else LOCAL, port))
            except OSError as error:
                why = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                problems.append(f"port {port} ({name}) {why}; choose another with --{name}-port")
    if problems:
        raise StoryError("\n".join(problems))


async def _launch(*arguments: str, settings: dict[str, str] | None = None) -> Process:
    """A kongdp command in its own session, its words kept."""
    return await asyncio.create_subprocess_exec(
        *command(*arguments),
        env=environment(settings or {}),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )


async def _finish(process: Process) -> str:
    """Wait for a command's end; what it said."""
    words, _ = await process.communicate()
    return words.decode("utf-8", "replace").strip()
