"""`kongdp config import` and `kongdp config export`: a declarative configuration into a control plane and out of it.

In: a file and a control plane's URL.  Out: progress and what changed on stdout; every problem on stderr. A token comes
from an option's file or from the environment, never from the command line, where everyone on the machine could read it.
Cold.
"""

import argparse
import http.client
import json
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from kongdp.cli.console import fail, fail_all, say

TOKEN_VARIABLE = "KONGDP_TOKEN"
# Long enough for the check of a very large file, which sends no progress meanwhile.
TIMEOUT_S = 120.0
YAML_TYPE = "application/yaml"


class TransferError(Exception):
    """The control plane cannot be asked, or has refused; a message a line."""


def import_(arguments: argparse.Namespace) -> int:
    """Send a file; the group then holds exactly what it says."""
    try:
        content = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    except OSError as error:
        return fail(f"cannot read {arguments.file}: {error.strerror}")
    trial = "?dry_run=true" if arguments.dry_run else ""
    fields = {"Content-Type": YAML_TYPE, "Accept": "application/x-ndjson"}
    try:
        with _answer(arguments, "PUT", trial, fields, content) as response:
            result = _follow(response)
    except TransferError as error:
        return fail_all(str(error).splitlines())
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    say(_summary(result))
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Print a group's configuration, or write it to a file."""
    accept = "application/json" if arguments.json else YAML_TYPE
    try:
        with _answer(arguments, "GET", "", {"Accept": accept}, None) as response:
            content = response.read()
    except TransferError as error:
        return fail_all(str(error).splitlines())
    if arguments.output is None:
        sys.stdout.write(content.decode())
        return 0
    path = Path(arguments.output)
    partial = path.with_name(path.name + ".partial")
    try:
        # Credentials are in it.
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as error:
        return fail(f"cannot write {path}: {error.strerror}")
    say(f"wrote {path}")
    return 0


@contextmanager
def _answer(
    arguments: argparse.Namespace, method: str, query: str, fields: Mapping[str, str], body: bytes | None
) -> Iterator[http.client.HTTPResponse]:
    """A good answer of the control plane. Raises TransferError."""
    place = urlsplit(arguments.url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise TransferError(f"{arguments.url} is not the URL of a control plane, such as http://127.0.0.1:8001")
    path = f"{place.path.rstrip('/')}/v2/control-planes/{quote(arguments.group, safe='')}/config{query}"
    try:
        with closing(_connection(place.scheme, place.hostname, place.port, arguments.ca)) as connection:
            connection.request(method, path, body, {**fields, **_credentials(arguments)})
            with connection.getresponse() as response:
                if response.status != 200:
                    raise TransferError(_reasons(response.status, response.read()))
                yield response
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(f"{arguments.url}: {error}") from None


def _connection(scheme: str, host: str, port: int | None, ca: str | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context(cafile=ca))


def _credentials(arguments: argparse.Namespace) -> dict[str, str]:
    token = os.environ.get(TOKEN_VARIABLE, "")
    if arguments.token_file is not None:
        token = Path(arguments.token_file).read_text().strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _follow(response: http.client.HTTPResponse) -> dict[str, Any]:
    """Show progress; the result of the last line. Raises TransferError."""
    shown = ""
    for line in response:
        news: dict[str, Any] = json.loads(line)
        if "result" in news:
            result: dict[str, Any] = news["result"]
            return result
        if "error" in news:
            raise TransferError(_reasons(news["status"], json.dumps(news["error"]).encode()))
        text = news["stage"] + (f" {news['done']} of {news['total']}" if news["stage"] == "write" else "")
        if text != shown:
            say(text)
            shown = text
    raise TransferError("the control plane ended before it had answered: see its log, and export to see what is there")


def _reasons(status: int, body: bytes) -> str:
    try:
        problem = json.loads(body)
        details = [text for detail in problem.get("details", ()) for text in detail.get("messages", ())]
        return "\n".join([f"{problem.get('message')} ({status})", *details])
    except (ValueError, AttributeError):
        return f"the answer's status is {status}"


def _summary(result: Mapping[str, Any]) -> str:
    parts = []
    for verb in ("created", "updated", "deleted"):
        counts = result[verb]
        if counts:
            parts.append(f"{verb} " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    what = "; ".join(parts) or "nothing to change"
    return f"{'would have ' if result['dry_run'] and parts else ''}{what} (revision {result['revision']})"
