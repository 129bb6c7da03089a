"""Logging of a process: nginx's levels and line shape, one target, secrets taken out, reopened on SIGUSR1.

In: level and target as settings name them.  Out: the standard library's root logger, configured. Everybody logs with
`logging.getLogger(__name__)`; nginx's `notice` is `log.log(NOTICE, ...)`.
House rule: redaction happens in the formatter, the one door through which every line leaves, so that a careless log
call cannot leak.
Cold: nothing is logged for a normal request (the access log is telemetry's).
Source: levels and line shape of nginx's error log.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TextIO

from kongdp.settings import Settings

NOTICE: Final = 25
ALERT: Final = 60
EMERG: Final = 70
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": NOTICE,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": ALERT,
    "emerg": EMERG,
}
MASK: Final = "******"
SECRET_CHARS_MIN: Final = 6  # shorter known secrets would mask ordinary words
MESSAGE_CHARS_MAX: Final = 16384

_NAMES = {number: name for name, number in LEVELS.items()}
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_FIELDS = "proxy-authorization|authorization|set-cookie|cookie|x-api-key|apikey"
_WORDS = "apikey|api_key|password|passwd|secret|client_secret|access_token|refresh_token|id_token|token|signature"
# pattern -> replacement, tried in order on every line
_REDACTIONS: Final = (
    (re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL), MASK),
    (re.compile(rf"(?i)\b({_FIELDS})(['\"]?\s*:\s*)[^\r\n]*"), rf"\1\2{MASK}"),
    (re.compile(rf"(?i)([?&;\s,{{(\"']|^)({_WORDS})(['\"]?\s*[=:]\s*['\"]?)([^\s&;,'\"}})]+)"), rf"\1\2\3{MASK}"),
    (re.compile(r"(\w+://[^\s/:@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {MASK}"),
)


class LogTargetError(Exception):
    """The target of a log cannot be opened; the message names it."""


def configure_logs(settings: Settings, process: str) -> None:
    """Log as the settings of this node say, to proxy_error_log; `process` names this one. Raises LogTargetError."""
    target = settings.proxy_error_log
    log_to(settings.log_level, target, Path(settings.prefix), process=process, secrets=settings.secrets())


def log_to(level: str, target: str, prefix: Path, *, process: str, secrets: Iterable[str] = ()) -> None:
    """Send everything of this process from `level` up to `target`; replaces an earlier set-up.

    `target` is a path (relative to `prefix`), /dev/stdout, /dev/stderr, `off`, or
    `syslog:server=ADDRESS[:PORT][,tag=TAG]`. `process` stands in each line beside the pid. `secrets` are values that
    must never appear, whatever stands around them. Raises LogTargetError.
    """
    for number, name in _NAMES.items():
        logging.addLevelName(number, name)
    handler = _open(target, prefix)
    handler.setFormatter(Formatter(process, secrets))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    logging.captureWarnings(True)


def echo_to_stderr(level: str = "notice") -> None:
    """Besides its target, also show this process's log on stderr: for a node that runs in the foreground."""
    root = logging.getLogger()
    handler = _StreamHandler(2)
    handler.setLevel(LEVELS[level])
    handler.setFormatter(root.handlers[0].formatter if root.handlers else Formatter(""))
    root.addHandler(handler)


def reopen_logs() -> None:
    """Open log files again under their names, after a rotation (SIGUSR1). A file that cannot be opened goes on as it
    was.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _FileHandler):
            handler.reopen()


def redact(text: str) -> str:
    """`text` with everything that looks like a credential masked."""
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


class Formatter(logging.Formatter):
    """`2026/11/23 18:10:00 [notice] 1234#worker 0: message`; line ends inside a message are kept visible as spaces."""

    def __init__(self, process: str, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._process = process
        known = sorted({secret for secret in secrets if len(secret) >= SECRET_CHARS_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()[:MESSAGE_CHARS_MAX]
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        if self._known is not None:
            message = self._known.sub(MASK, message)
        message = redact(message)
        if not record.exc_info:
            message = message.replace("\r", " ").replace("\n", " ")  # one message cannot forge another line
        when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(record.created))
        name = _NAMES.get(record.levelno, record.levelname.lower())
        return f"{when} [{name}] {record.process}#{self._process}: {message}"


class _FileHandler(logging.StreamHandler[TextIO]):
    """A log file that can be opened again under its name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(_open_file(path))

    def reopen(self) -> None:
        """Switch to whatever has the name now; keeps the open file when that fails."""
        try:
            fresh = _open_file(self._path)
        except OSError as error:
            logging.getLogger(__name__).error("cannot reopen %s: %s", self._path, error.strerror)
            return
        old = self.setStream(fresh)
        if old is not None:
            _close(old)

    def flush(self) -> None:
        # What a full disk does not take is lost; the process that wanted to log it, or to switch to another file, goes on.
        with contextlib.suppress(OSError):
            super().flush()

    def close(self) -> None:
        _close(self.stream)
        super().close()


class _StreamHandler(logging.StreamHandler[TextIO]):
    """stdout or stderr, written through its descriptor: /dev/stdout cannot be opened by name where it is a socket."""

    def __init__(self, fd: int) -> None:
        super().__init__(sys.stdout if fd == 1 else sys.stderr)


def _close(stream: TextIO) -> None:
    """Close it, also when the disk does not take what it still holds: the descriptor is closed all the same."""
    with contextlib.suppress(OSError):
        stream.close()


def _open_file(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1)


def _open(target: str, prefix: Path) -> logging.Handler:
    if target == "off":
        return logging.NullHandler()
    if target in _STREAMS:
        return _StreamHandler(_STREAMS[target])
    if target.startswith("syslog:"):
        return _open_syslog(target)
    path = prefix / target.split()[0]  # nginx allows a level after the path; log_level says it for us
    try:
        return _FileHandler(path)
    except OSError as error:
        raise LogTargetError(f"cannot open the log {path}: {error.strerror}") from None


def _open_syslog(target: str) -> logging.Handler:
    import logging.handlers  # only here: it loads much that a process without syslog never needs

    options = dict(part.partition("=")[::2] for part in target.removeprefix("syslog:").split(","))
    server = options.get("server", "")
    host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "514")
    address: str | tuple[str, int] = (host or server, int(port) if port.isdecimal() else 514)
    if server.startswith("unix:"):
        address = server.removeprefix("unix:")
    try:
        handler = logging.handlers.SysLogHandler(address)
    except OSError as error:
        raise LogTargetError(f"cannot open the log {target}: {error}") from None
    handler.ident = f"{options.get('tag', 'kongdp')}: "
    return handler
