"""Random small changes to a configuration, from a seed: some harmless, most wrong."""

import copy
import random
from typing import Any

_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**40, 1.5, "", "x", "/", "/ok", "~/a[0-9]", "~/(", "*", "ü", "a b", "http://127.0.0.1:1/p",
    [], ["x"], [None], ["/p", "/q"], {}, {"id": "x"}, {"x": ["~*^a"]}, "11111111-1111-4111-8111-111111111111",
)  # fmt: skip
_NAMES = (
    "name", "host", "path", "paths", "hosts", "methods", "headers", "tags", "protocols", "retries", "id", "service",
    "regex_priority", "read_timeout", "enabled", "nonsense", "_comment", "plugins", "upstreams", "snis", "expression",
)  # fmt: skip


def mutated(dice: random.Random, config: dict[str, Any]) -> dict[str, Any]:
    """A copy with one to three changes somewhere in it; the format version stays most of the time."""
    config = copy.deepcopy(config)
    for _ in range(dice.randint(1, 3)):
        _mutate(dice, dice.choice(list(_containers(config))))
    if dice.random() < 0.95:
        config["_format_version"] = "3.0"
    return config


def _containers(value: Any) -> Any:
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


def _mutate(dice: random.Random, container: Any) -> None:
    how = dice.choice(("set", "set", "delete", "double"))
    if isinstance(container, dict):
        name = dice.choice([*container, *_NAMES])
        if how == "delete":
            container.pop(name, None)
        else:
            container[name] = copy.deepcopy(dice.choice(_VALUES))
    elif not container:
        container.append(copy.deepcopy(dice.choice(_VALUES)))
    else:
        position = dice.randrange(len(container))
        if how == "delete":
            del container[position]
        elif how == "double":
            container.append(copy.deepcopy(container[position]))
        else:
            container[position] = copy.deepcopy(dice.choice(_VALUES))
