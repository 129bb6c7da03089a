"""Templates: what may stand in the brackets, and what is refused."""

import pytest

from kongdp.plugins.base import PluginError
from kongdp.plugins.templates import Template

TABLES = {
    "headers": {"x-a": "1", "host": "h"}.get,
    "query_params": {"q": "2"}.get,
    "uri_captures": {"1": "c", "name": "n"}.get,
    "shared": lambda name: None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("# $ ( )", "# $ ( )"),
        ("$(headers.host)", "h"),
        ('a$(headers["x-a"])b$(query_params.q)', "a1b2"),
        ("$(headers['x-a'])", "1"),
        ('$(uri_captures[1])$(uri_captures["1"])$(uri_captures.name)', "ccn"),
        ("$(headers.nope)", ""),
        ('$(headers.nope or "x")', "x"),
        ("$(headers.nope or query_params.q or 'x')", "2"),
        ("$(headers.host and query_params.q)", "2"),
        ("$(headers.nope and query_params.q or 'x')", "x"),
        ("$(headers.host .. '-' .. query_params.q)", "h-2"),
        ("$((headers.nope or 'a') .. 'b')", "ab"),
        ("$(shared.x or 7)", "7"),
        ("$(nil or 'x')", "x"),
        ("$('(' .. ')')", "()"),
    ],
)
def test_template_when_it_is_filled_in(text: str, expected: str) -> None:
    """Lua's words for it, as far as a look-up needs them."""
    assert Template(text).render(TABLES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "$(",
        "$()",
        "$(headers)",
        "$(os.exit)",
        "$(headers.x",
        "$(headers.host:upper())",
        "$(1 +)",
        "$(headers.x 'y')",
        '$("x)',
    ],
)
def test_template_when_it_is_not_understood(text: str) -> None:
    """It is refused with the configuration, with what there is."""
    with pytest.raises(PluginError, match="template '"):
        Template(text)
