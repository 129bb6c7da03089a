"""Logging: nginx's line, levels, targets, reopening, and no secret in any line."""

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.process import logs
from kongdp.process.logs import NOTICE, LogTargetError, echo_to_stderr, log_to, redact, reopen_logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    """The root logger as it was before the test."""
    root = logging.getLogger()
    before, level = tuple(root.handlers), root.level
    for handler in before:
        root.removeHandler(handler)
    yield root
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_line_looks_like_nginxs_and_names_the_process(tmp_path: Path) -> None:
    """Time, level, pid and who; only from the level up."""
    log_to("notice", "logs/error.log", tmp_path, process="worker 0")
    log = logging.getLogger("some.module")
    log.info("too quiet")
    log.log(NOTICE, "ready on %s", "127.0.0.1:8000")
    (line,) = (tmp_path / "logs" / "error.log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[notice\] \d+#worker 0: ready on 127.0.0.1:8000", line)


def test_reopening_follows_a_rotation(tmp_path: Path) -> None:
    """After the file was moved away the next lines go to a new one."""
    log_to("info", "error.log", tmp_path, process="agent")
    path = tmp_path / "error.log"
    logging.info("before")
    path.rename(tmp_path / "error.log.1")
    logging.info("still the old file")
    reopen_logs()
    logging.info("after")
    assert "still" in (tmp_path / "error.log.1").read_text()
    assert "after" in path.read_text()
    assert "still" not in path.read_text()


def test_a_file_that_cannot_be_reopened_goes_on(tmp_path: Path) -> None:
    """Losing the log is worse than writing to a moved one."""
    log_to("info", "logs/error.log", tmp_path, process="agent")
    (tmp_path / "logs").rename(tmp_path / "moved")
    (tmp_path / "logs").write_text("not a directory")
    reopen_logs()
    logging.info("after")
    text = (tmp_path / "moved" / "error.log").read_text()
    assert "cannot reopen" in text
    assert "after" in text


def test_a_full_disk_costs_lines_and_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not taken may still stand in the buffer when the log is opened again or replaced: neither raises."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    path = tmp_path / "error.log"
    path.symlink_to("/dev/full")
    log_to("info", "error.log", tmp_path, process="supervisor")
    logging.info("lost")
    path.unlink()
    reopen_logs()
    logging.info("after")
    assert "after" in path.read_text()
    path.unlink()
    path.symlink_to("/dev/full")
    reopen_logs()
    logging.info("lost too")
    log_to("info", "other.log", tmp_path, process="supervisor")
    logging.info("elsewhere")
    assert "elsewhere" in (tmp_path / "other.log").read_text()


def test_a_target_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """The path stands in the message."""
    (tmp_path / "logs").write_text("not a directory")
    with pytest.raises(LogTargetError, match=r"cannot open the log .*/logs/error.log: "):
        log_to("info", "logs/error.log", tmp_path, process="agent")


def test_off_writes_nothing_and_standard_streams_need_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As containers want it."""
    log_to("info", "off", tmp_path, process="agent")
    logging.error("nobody hears")
    log_to("info", "/dev/stderr", tmp_path, process="agent")
    logging.error("everybody hears")
    assert "everybody" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_echo_shows_the_log_on_the_terminal_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a node in the foreground."""
    log_to("info", "error.log", tmp_path, process="supervisor")
    echo_to_stderr("notice")
    logging.warning("twice")
    assert "#supervisor: twice" in capsys.readouterr().err
    assert "#supervisor: twice" in (tmp_path / "error.log").read_text()


def test_syslog_gets_lines_over_udp(tmp_path: Path) -> None:
    """nginx's syslog:server= form."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        log_to("info", f"syslog:server=127.0.0.1:{server.getsockname()[1]},tag=gateway", tmp_path, process="agent")
        logging.error("over there")
        data = server.recv(1000)
    assert b"gateway: " in data
    assert b"over there" in data


def test_one_message_cannot_forge_another_line(tmp_path: Path) -> None:
    """Line ends of a peer's text become spaces."""
    log_to("info", "error.log", tmp_path, process="agent")
    logging.error("upstream said %s", "no\n2026/01/01 00:00:00 [notice] 1#agent: all is well")
    assert len((tmp_path / "error.log").read_text().splitlines()) == 1


def test_known_secrets_are_masked_wherever_they_stand(tmp_path: Path) -> None:
    """Values of secret settings, also inside a traceback."""
    log_to("info", "error.log", tmp_path, process="agent", secrets=["hunter2-hunter2", "abc"])
    try:
        raise RuntimeError("could not log in with hunter2-hunter2")
    except RuntimeError:
        logging.exception("abc failed")
    text = (tmp_path / "error.log").read_text()
    assert "hunter2" not in text
    assert "abc failed" in text
    assert "Traceback" in text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3ts3cr3t",
        "authorization: Basic s3cr3ts3cr3t",
        "head was b'Cookie: session=s3cr3t'",
        "Set-Cookie: a=s3cr3t; Path=/",
        "apikey: s3cr3t",
        '{"password": "s3cr3t"}',
        "{'client_secret': 's3cr3t'}",
        "GET /x?a=1&apikey=s3cr3t&b=2",
        "GET /x?access_token=s3cr3t",
        "postgresql://user:s3cr3t@host/db",
        "http://user:s3cr3t@proxy:3128",
        "-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\ns3cr3t cut off",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    """Fields, query arguments, JSON, URLs, keys."""
    assert "s3cr3t" not in redact(text)
    assert logs.MASK in redact(text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8000 is already in use", "token bucket is full", "http://host:80/path", "b=2 a=1"]
)
def test_ordinary_text_stays(text: str) -> None:
    """Redaction does not eat what an operator must read."""
    assert redact(text) == text
