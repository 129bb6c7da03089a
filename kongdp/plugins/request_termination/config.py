"""Settings of the request-termination plugin as an operator writes them.

Source: kong/plugins/request-termination/schema.lua 3.9; GET /schemas/plugins/request-termination of a live Kong 3.9.1.
"""

from typing import Any

from kongdp.entities.schemas.common import boolean, integer, record, string
from kongdp.entities.schemas.plugins import PROTOCOLS_HTTP, PluginSchema


def _answer_problem(settings: dict[str, Any]) -> str | None:
    """A message makes the body itself; a content type needs a body to describe."""
    body, message, content_type = settings["body"], settings["message"], settings["content_type"]
    if message is not None and (content_type is not None or body is not None):
        return "message cannot be used with content_type or body"
    if content_type is not None and body is None:
        return "content_type requires a body"
    return None


SCHEMA = PluginSchema(
    "request-termination",
    fields=(
        ("protocols", PROTOCOLS_HTTP),
        (
            "config",
            record(
                ("status_code", integer(required=True, default=503, between=(100, 599))),
                ("message", string()),
                ("content_type", string()),
                ("body", string()),
                ("echo", boolean(required=True, default=False)),
                ("trigger", string()),
                required=True,
                validator=_answer_problem,
            ),
        ),
    ),
)
