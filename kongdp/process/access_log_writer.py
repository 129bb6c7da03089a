"""The access log of one worker: lines collected on the loop, written by a thread in batches.

In: finished exchanges.  Out: lines appended to a file, stdout or stderr, or one datagram each to a syslog server.
House rule: the loop never touches the disk. What waits to be written is bounded; beyond the bound lines are dropped and counted, and a
dead disk costs lines, not requests. Off costs nothing: there is no writer then.
Warm: one rendered line for each request, one write for each batch.
Source: formats are telemetry's; reopening on SIGUSR1, append mode and syslog targets as nginx.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from kongdp.http1._lines import find_values
from kongdp.settings import Settings
from kongdp.telemetry.access_log import AccessLogError, Line
from kongdp.telemetry.access_log import Exchange as Finished
from kongdp.telemetry.counters import SOURCES
from kongdp.telemetry.log_format import read_format

if TYPE_CHECKING:
    from kongdp.proxy.environment import Environment
    from kongdp.proxy.exchange import Exchange

log = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.25
BATCH_BYTES = 65536
PENDING_BYTES_MAX = 4 << 20
"""Lines that may wait for a slow disk, per worker: about 20,000 of them."""

SYSLOG = "syslog:"
SYSLOG_PORT = 514

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")


class AccessLogWriter:
    """Appends one line for each finished exchange. Call `tick` once a second and `close` at the end."""

    def __init__(self, target: str, line: Line, env: Environment) -> None:
        self._target = target
        self._line = line
        self._env = env
        self._sink = _open(target)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._writing_bytes = 0
        self._writing_lines = 0
        self._is_failing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access-log")
        self._flushing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.tick()

    def record(self, exchange: Exchange) -> None:
        """Render one exchange's line and queue it."""
        env = self._env
        if self._pending_bytes + self._writing_bytes > PENDING_BYTES_MAX:
            env.slots[env.counters.log_lines_dropped] += 1
            return
        line = self._line.render(_finished(exchange))
        self._pending.append(line)
        self._pending_bytes += len(line)
        if self._pending_bytes >= BATCH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = env.loop.call_later(FLUSH_INTERVAL_S, self._flush)

    def hide(self, arguments: Collection[bytes]) -> None:
        """Replace the values of these query arguments in lines to come: names under which plugins take credentials."""
        self._line.hide(arguments)

    def tick(self) -> None:
        """Render the time of the lines to come."""
        now = time.time()
        self._line.tick(now, time.localtime(now).tm_gmtoff)

    def reopen(self) -> None:
        """Write to whatever has the file's name now, after a rotation; keeps the open file when that fails."""
        if not isinstance(self._sink, File) or self._target in _STREAMS:
            return
        try:
            fresh = _open(self._target)
        except OSError as problem:
            log.error("cannot reopen %s: %s", self._target, problem.strerror)
            return
        # in the thread's queue, so that no write under way loses its file
        self._thread.submit(self._switch, fresh)

    async def close(self) -> None:
        """Write what is queued and stop."""
        while self._pending or self._flushing is not None:
            self._flush()
            if self._flushing is not None:
                # not `await future`: for one that is done this returns at once, and the callback that ends it would never run
                await asyncio.wait([self._flushing])
        self._thread.shutdown(wait=True)
        self._sink.close()
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is not None or not self._pending:
            return  # the end of the write under way comes back here
        batch = b"".join(self._pending)
        self._writing_lines = len(self._pending)
        self._pending.clear()
        self._writing_bytes, self._pending_bytes = self._pending_bytes, 0
        self._flushing = future = self._env.loop.run_in_executor(self._thread, self._write, batch)
        future.add_done_callback(self._written)

    def _written(self, future: asyncio.Future[None]) -> None:
        self._flushing = None
        self._writing_bytes = 0
        error = future.exception()
        if error is not None:
            self._env.slots[self._env.counters.log_lines_dropped] += self._writing_lines
            if not self._is_failing:
                log.error("writing the access log fails, lines are lost: %s", error)
        self._is_failing = error is not None
        if self._pending:
            self._flush()

    def _write(self, batch: bytes) -> None:
        # looked up in the thread: a switch may stand before this in its queue
        self._sink.write(batch)

    def _switch(self, fresh: Sink) -> None:
        old, self._sink = self._sink, fresh
        old.close()


class Sink(Protocol):
    """Where lines go; called in the writer's thread only."""

    def write(self, batch: bytes) -> None:
        """Write whole lines."""

    def close(self) -> None:
        """Close the file or socket."""


class File:
    """A file, or a stream that this process was given."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, batch: bytes) -> None:
        """All of it, however many system calls that takes."""
        view = memoryview(batch)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        """Close it; streams stay open."""
        if self._fd not in _STREAMS.values():
            os.close(self._fd)


class Syslog:
    """A syslog server on UDP or a Unix socket, in RFC 3164's format as nginx sends it: facility local7, severity info, tag nginx's."""

    def __init__(self, target: str) -> None:
        from logging.handlers import SysLogHandler  # only here: it loads much that a worker without syslog never needs

        options = dict(part.partition("=")[::2] for part in target.removeprefix(SYSLOG).split(","))
        unknown = set(options) - {"server", "facility", "severity", "tag", "nohostname"}
        if unknown or not options.get("server"):
            raise AccessLogError(
                f"{target}: not syslog:server=ADDRESS[:PORT][,facility=..][,severity=..][,tag=..][,nohostname]"
            )
        facility, severity = options.get("facility", "local7"), options.get("severity", "info")
        if facility not in SysLogHandler.facility_names or severity not in SysLogHandler.priority_names:
            raise AccessLogError(f"{target}: unknown facility {facility!r} or severity {severity!r}")
        code = SysLogHandler.facility_names[facility] << 3 | SysLogHandler.priority_names[severity]
        host = "" if "nohostname" in options else f"{socket.gethostname()} "
        self._begin = f"<{code}>".encode()
        self._middle = f" {host}{options.get('tag', 'kongdp')}: ".encode()
        self._server = options["server"]
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        server = self._server
        if server.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            address: object = server.removeprefix("unix:")
        else:
            place = urlsplit(f"//{server}")
            family, kind, protocol, _, address = socket.getaddrinfo(
                place.hostname, place.port or SYSLOG_PORT, type=socket.SOCK_DGRAM
            )[0]
            sock = socket.socket(family, kind, protocol)
        try:
            sock.connect(address)  # type: ignore[arg-type]
        except OSError:
            sock.close()
            raise
        return sock

    def write(self, batch: bytes) -> None:
        """One datagram for each line; what the server does not take is lost, as syslog has it."""
        begin = self._begin + time.strftime("%b %e %H:%M:%S").encode() + self._middle
        for line in batch.splitlines():
            self._send(begin + line)

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError:
            # A server that was started again has another socket under the name; over UDP it may be an error of the
            # datagram before.
            fresh = self._connect()
            self._socket.close()
            self._socket = fresh
            fresh.send(datagram)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def build(settings: Settings, env: Environment) -> AccessLogWriter | None:
    """The writer that proxy_access_log asks for, or None for `off`. Raises OSError or AccessLogError for a wrong one."""
    line = read_line(settings)
    if line is None:
        return None
    target = settings.proxy_access_log.split()[0]
    is_path = target not in _STREAMS and not target.startswith(SYSLOG)
    return AccessLogWriter(str(Path(settings.prefix) / target) if is_path else target, line, env)


def read_line(settings: Settings) -> Line | None:
    """What is written of a request; None for `off`. Raises AccessLogError."""
    target, *rest = settings.proxy_access_log.split()
    if target == "off":
        return None
    format_name = settings.kongdp_access_log_format
    for word in rest:
        # nginx's buffer=, flush=, gzip=: lines are batched here in any case
        if "=" not in word:
            format_name = word
    formats = dict((read_format(settings.nginx_http_log_format),)) if settings.nginx_http_log_format else {}
    return Line(format_name, fields=settings.kongdp_access_log_fields, formats=formats)


def _open(target: str) -> Sink:
    if target in _STREAMS:
        return File(_STREAMS[target])
    if target.startswith(SYSLOG):
        return Syslog(target)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    return File(os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))


def _finished(exchange: Exchange) -> Finished:
    """The plain facts of an exchange."""
    head = exchange.head
    referers, agents = find_values(head.raw, b"referer"), find_values(head.raw, b"user-agent")
    plan = exchange.plan
    run = exchange.plugins
    return Finished(
        remote_addr=exchange.client.address.client(head, exchange.env.trust).encode(),
        remote_user=b"",
        request_line=b"%b %b %b" % (head.method, head.target, _VERSIONS[head.minor]),
        status=exchange.status,
        body_bytes_sent=exchange.bytes_out - exchange.head_bytes_out,
        referer=referers[0] if referers else b"",
        user_agent=agents[0] if agents else b"",
        request_id=exchange.request_id,
        host=head.host or b"",
        scheme=exchange.client.scheme.decode(),
        request_bytes=exchange.bytes_in,
        bytes_sent=exchange.bytes_out,
        request_ms=int((monotonic() - exchange.started) * 1000),
        kong_ms=exchange.proxy_ms,
        upstream_ms=exchange.upstream_ms,
        source=SOURCES[exchange.source],
        route_id=plan.route_id if plan else "",
        service_id=(plan.service_id if plan else None) or "",
        consumer_id=run.consumer.id if run is not None and run.consumer is not None else "",
        started_at=time.time() - (monotonic() - exchange.started),
    )
