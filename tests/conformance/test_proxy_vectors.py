"""168 raw requests and what a live Kong 3.9.1 did with them: status, fields, and what the upstream received.

Source: our own recording, data/proxy.jsonl. The reference listened on port 8311; its upstream was 127.0.0.1:9950.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import uvloop

from tests.support.echo_upstream import echo_upstream
from tests.support.gateway import running_gateway
from tests.support.raw_client import Seen, ask

VECTORS = Path(__file__).parent / "data" / "proxy.jsonl"
REFERENCE_PORT = 8311
REFERENCE_UPSTREAM = "127.0.0.1:9950"

IGNORED = {
    "date", "x-kong-upstream-latency", "x-kong-proxy-latency", "x-kong-response-latency", "x-kong-request-id", "server", "via",
    "content-length",
}  # fmt: skip
STAMPED = {"x-kong-upstream-latency", "x-kong-proxy-latency", "x-kong-response-latency", "via", "server"}
"""Which of these an answer has must agree, their values need not."""

IGNORED_UPSTREAM = {"x-kong-request-id", "via", "connection"}

REFUSED_ON_PURPOSE = {
    "bad-host-at": "userinfo in Host names another authority than it seems",
    "bad-host-port": "a port that is no number",
    "bad-chunk-lf": "bare LF in chunk framing: two parsers see two bodies",
    "bad-lf": "bare LF as line end",
    "bad-noheadercolon": "a field line without colon",
    "bad-ctl-value": "control characters in a value",
    "bad-version-09": "HTTP/0.9 has no framing",
    "bad-version-12": "HTTP/1.2 does not exist; 505",
    "bad-version-long": "HTTP/1.10 does not exist; 505",
    "bad-line-spaces": "several spaces in the request line",
    "bad-te-vt": "a control character in a value, refused (400) before its coding is looked at (501)",
    "many-headers-1100": "more than 1000 fields; the reference's own bound is higher than its documentation says",
}
"""Where the reference is lenient and we refuse: id -> reason."""

REFUSALS = {400, 405, 414, 501, 505, "closed"}


def compact(text: str) -> str:
    """A body without white space and request ids."""
    return re.sub(r'(request_id"?:"?)[0-9a-f]{32}', r"\1", re.sub(r"\s+", "", text))


def comparable(status: Any, headers: dict[str, list[str]], upstream: Any, body: str | None) -> dict[str, Any]:
    """What must agree: everything but dates, latencies, ids, and what names the product."""
    return {
        "status": status,
        "line": upstream and upstream["line"],
        "upstream": upstream
        and sorted(
            (name.lower(), value) for name, value in upstream["headers"] if name.lower() not in IGNORED_UPSTREAM
        ),
        "headers": {name: value for name, value in headers.items() if name not in IGNORED},
        "names": sorted(name for name in headers if name in STAMPED),
        "body": None if upstream else compact(body or ""),
    }


def of_ours(seen: Seen, upstream_port: int) -> dict[str, Any]:
    """Our answer in the recording's terms."""
    text = seen.body.decode("latin-1").replace(f"127.0.0.1:{upstream_port}", REFERENCE_UPSTREAM)
    upstream = None
    if seen.headers.get("x-echo"):
        try:
            upstream = json.loads(text)
        except ValueError:
            upstream = None
    return comparable(seen.status, seen.headers, upstream, text)


async def replay() -> dict[str, Any]:
    """Differences by request id, over every vector."""
    case = json.loads(VECTORS.read_text())
    async with echo_upstream() as port:
        config = json.loads(json.dumps(case["config"]).replace(REFERENCE_UPSTREAM, f"127.0.0.1:{port}"))
        async with running_gateway(config, shown_port=REFERENCE_PORT) as gateway:
            asked = [ask(gateway.port, request["raw"].encode("latin-1")) for request in case["requests"]]
            answers = await asyncio.gather(*asked)
    differences = {}
    for request, seen in zip(case["requests"], answers, strict=True):
        observed = request["observed"]
        want = comparable(observed["status"], observed["headers"], observed["upstream"], observed["body"])
        got = of_ours(seen, port)
        if (observed["body"] or "").startswith("html: ") and compact(observed["body"][6:]) in got["body"]:
            got["body"] = want["body"]  # a page of our own that carries the same message
        if request["id"] in REFUSED_ON_PURPOSE:
            agrees = got["status"] in REFUSALS
        else:
            agrees = want == got
        if not agrees:
            differences[request["id"]] = {name: (want[name], got[name]) for name in want if want[name] != got[name]}
    assert len(answers) == 168
    return differences


def test_recorded_requests_when_replayed() -> None:
    """Every request is answered as the reference answered it, except those refused on purpose."""
    assert uvloop.run(replay()) == {}
