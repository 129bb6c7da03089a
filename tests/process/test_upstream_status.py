"""Upstreams on the Status API: the Admin API's answers, read only, from the configuration in force."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from kongdp.entities import declarative
from kongdp.entities.schemas import build_schemas
from kongdp.process.agent_pipeline import Pipeline
from kongdp.process.status_api import Answer
from kongdp.process.upstream_status import UpstreamStatus

ID = "1da9157f-c443-4b08-8355-c97520754c21"
CONFIGURATION = {
    "_format_version": "3.0",
    "upstreams": [{"name": "u", "targets": [{"target": "127.0.0.1:80"}, {"target": "127.0.0.2:80", "weight": 0}]}],
}


@dataclass
class Configured:
    """The part of a pipeline that is read."""

    table: Any = field(default_factory=dict)
    schemas: Any = field(default_factory=build_schemas)


@pytest.fixture
def node() -> Configured:
    """A node with one upstream of two targets."""
    return Configured(declarative.load(CONFIGURATION))


def asked(node: Configured, *path: str, **query: str) -> Answer | None:
    status = UpstreamStatus(ID, cast(Pipeline, node))
    return asyncio.run(status(path[0], path[1], query))


def test_health_is_the_admin_apis(node: Configured) -> None:
    """Every target with its health; without health checks that is HEALTHCHECKS_OFF."""
    answer = asked(node, "u", "health")
    assert answer is not None
    assert answer.status == 200
    assert answer.body["node_id"] == ID
    health = {each["target"]: each["health"] for each in answer.body["data"]}
    assert health == dict.fromkeys(("127.0.0.1:80", "127.0.0.2:80"), "HEALTHCHECKS_OFF")
    whole = asked(node, "u", "health", balancer_health="1")
    assert whole is not None
    assert whole.body["data"]["health"] == "HEALTHCHECKS_OFF"


def test_targets_are_listed(node: Configured) -> None:
    """As the Admin API: /targets and /targets/all."""
    listed, everything = asked(node, "u", "targets"), asked(node, "u", "targets/all")
    assert listed is not None
    assert everything is not None
    assert (len(listed.body["data"]), len(everything.body["data"])) == (2, 2)


@pytest.mark.parametrize("path", [("other", "health"), ("u", "nothing"), ("u/../u", "health")])
def test_nothing_is_found_where_nothing_is(node: Configured, path: tuple[str, str]) -> None:
    """The Status API makes its own 404 of it."""
    assert asked(node, *path) is None


def test_answers_follow_the_configuration(node: Configured) -> None:
    """The table in force at the request counts."""
    status = UpstreamStatus(ID, cast(Pipeline, node))
    assert asyncio.run(status("u", "health", {})) is not None
    node.table = declarative.load({"_format_version": "3.0"})
    assert asyncio.run(status("u", "health", {})) is None


def test_admin_api_is_not_loaded_before_somebody_asks() -> None:
    """A data plane's agent stays small."""
    code = "import sys, kongdp.process.agent; sys.exit('kongdp.adminapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
