"""file-log: one JSON object a line, appended to a file.

The loop never touches the disk: lines go to an outbox, whose thread writes them. Source: spec of bundled plugins, section 5; Kong 3.9
plugins/file-log/handler.lua.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import orjson

from kongdp.entities.model import Plugin
from kongdp.plugins.base import ExchangeView, Handler, Node, no_lua
from kongdp.plugins.log_entry import log_entry
from kongdp.plugins.outbox import DeliveryError, Outbox, OutboxLimits, shared

LIMITS = OutboxLimits(batch_max=1000, coalescing_s=0.05, entries_max=20000, retry_s=1.0)

MODE = 0o644


class FileLog(Handler):
    """One instance of file-log."""

    PRIORITY = 9

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        no_lua(plugin)
        path, reopen = plugin.config["path"], bool(plugin.config["reopen"])
        self._outbox = shared(("file", path, reopen), lambda: _outbox(path, reopen=reopen))

    def log(self, exchange: ExchangeView) -> None:
        """One line."""
        self._outbox.put(orjson.dumps(log_entry(exchange, self.node), option=orjson.OPT_APPEND_NEWLINE))


def _outbox(path: str, *, reopen: bool) -> Outbox:
    file = _File(path, reopen)
    return Outbox(f"file-log {path}", file.write, LIMITS, file.close)


class _File:
    """A file that is open while lines come; with `reopen` only while they are written, so that it may be rotated."""

    def __init__(self, path: str, reopen: bool) -> None:
        self._path = path
        self._reopen = reopen
        self._fd = -1

    def write(self, lines: Sequence[bytes]) -> None:
        """Append whole lines. Raises DeliveryError."""
        data = memoryview(b"".join(lines))
        try:
            if self._fd < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, MODE)
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as problem:
            self.close()
            raise DeliveryError(f"{self._path}: {problem.strerror}") from None
        if self._reopen:
            self.close()

    def close(self) -> None:
        """Until the next line."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


HANDLER = FileLog
