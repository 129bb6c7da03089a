"""Health of targets without health checks: addresses as they are, names that do not resolve as DNS errors."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from kongdp.entities import declarative
from kongdp.entities.schemas import build_schemas
from kongdp.entities.table import Table
from kongdp.process.agent_pipeline import Pipeline
from kongdp.process.target_health import TargetHealthWatch
from kongdp.process.upstream_status import UpstreamStatus
from kongdp.upstream.resolver import Resolver

TARGETS = ("10.0.0.1:81", "[::1]:82", "two.test:83", "gone.test:84", "down.test:85", "none.invalid:86")
TABLE: Table = declarative.load(
    {"_format_version": "3.0", "upstreams": [{"name": "u", "targets": [{"target": target} for target in TARGETS]}]}
)
ADDRESSES = {"two.test": ["192.0.2.1", "192.0.2.2"], "gone.test": socket.EAI_NONAME, "down.test": socket.EAI_AGAIN}


async def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
    """In place of the system's resolver."""
    found = ADDRESSES[name]
    if isinstance(found, int):
        raise socket.gaierror(found, "no")
    return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in found]  # type: ignore[attr-defined]


def told(monkeypatch: pytest.MonkeyPatch, story: Callable[[TargetHealthWatch], Awaitable[None]]) -> None:
    """Run a story with a watch over TABLE."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        await story(TargetHealthWatch(Resolver(loop), lambda: TABLE))

    asyncio.run(whole())


def test_states_of_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name nobody has answered yet is in no state; afterwards each address is, and a name without any is a DNS error."""

    async def story(watch: TargetHealthWatch) -> None:
        first = {(each.target, each.address, each.state) for each in watch.states()}
        assert first == {
            ("10.0.0.1:81", "10.0.0.1:81", "healthchecks_off"),
            (
                "[0000:0000:0000:0000:0000:0000:0000:0001]:82",
                "[0000:0000:0000:0000:0000:0000:0000:0001]:82",
                "healthchecks_off",
            ),
            ("none.invalid:86", "", "dns_error"),
        }
        await watch.settle("u")
        second = {(each.target, each.address, each.state) for each in watch.states()} - first
        assert second == {
            ("two.test:83", "192.0.2.1:83", "healthchecks_off"),
            ("two.test:83", "192.0.2.2:83", "healthchecks_off"),
            ("gone.test:84", "", "dns_error"),
            ("down.test:85", "", "dns_error"),
        }
        monkeypatch.setattr("kongdp.process.target_health.time.monotonic", lambda: 1e12)
        assert {
            (each.target, each.address, each.state) for each in watch.states()
        } == first | second  # while it asks again

    told(monkeypatch, story)


def test_health_of_an_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Status API waits for the names and says DNS_ERROR where there is no address."""

    async def story(watch: TargetHealthWatch) -> None:
        class Configured:
            table = TABLE
            schemas = build_schemas()

        status = UpstreamStatus("id", cast(Pipeline, Configured()), watch)
        answer = await status("u", "health", {})
        assert answer is not None
        health = {each["target"].partition(":")[0]: each["health"] for each in answer.body["data"]}
        expected = dict.fromkeys(("gone.test", "down.test", "none.invalid"), "DNS_ERROR")
        assert health == {
            "10.0.0.1": "HEALTHCHECKS_OFF",
            "[0000": "HEALTHCHECKS_OFF",
            "two.test": "HEALTHCHECKS_OFF",
            **expected,
        }
        data = {each["target"]: each["data"] for each in answer.body["data"]}
        assert data["gone.test:84"]["addresses"] == []
        assert data["gone.test:84"]["dns"].startswith("dns server error: ")

    told(monkeypatch, story)
