"""Reads our Dockerfile as far as tests ask: the instructions of its last stage, and what the builder copies."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Dockerfile:
    """`env` and the exec forms are those of the last stage; `sources` are the paths the builder copies."""

    env: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    healthcheck: list[str]
    stop_signal: str
    user: str
    ports: set[int]
    sources: list[str]


def read_dockerfile(path: Path) -> Dockerfile:
    """The Dockerfile at `path`."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        elif stages:
            stages[-1].append((word, rest.strip()))
    last = stages[-1]
    one = dict(last)
    copied = [shlex.split(rest) for word, rest in stages[0] if word == "COPY"]
    health = re.search(r"CMD (\[.*\])", one["HEALTHCHECK"])
    assert health is not None
    return Dockerfile(
        env=dict(pair.split("=", 1) for word, rest in last if word == "ENV" for pair in shlex.split(rest)),
        entrypoint=json.loads(one["ENTRYPOINT"]),
        command=json.loads(one["CMD"]),
        healthcheck=json.loads(health[1]),
        stop_signal=one["STOPSIGNAL"],
        user=one["USER"],
        ports={int(port) for port in one["EXPOSE"].split()},
        sources=[source for words in copied for source in words[:-1]],
    )
