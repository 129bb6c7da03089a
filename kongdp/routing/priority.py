"""Which of several matching routes wins: the numbers each flavor orders its candidates by.

Every function returns an `order`: an int that is unique to a candidate, where the smaller wins. An order never
depends on other routes, so that an edit cannot reorder what it does not touch.

traditional: sub-rank bits, header count, regex priority, prefix length, age; the category goes before (see
traditional). traditional_compatible: a 64-bit priority, then the greater uuid. Kong ships it with a flaw that
deployments rely on: the counters are shifted in 32 bits (LuaJIT's bit library on plain numbers), so they fall to the
low half of the number, below the flags for plain hosts and regexes. `original` computes that; `strict` computes the
layout as intended, as Kong Enterprise offers with `route_match_calculation`.
expressions: the written priority, above all classic routes, then the greater uuid.
Cold: called when a route is compiled. Source: spec of Kong 3.9 transform.lua get_priority, traditional.lua sort_routes.
"""

import uuid
from dataclasses import dataclass

ORIGINAL = "original"
STRICT = "strict"

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_U128 = (1 << 128) - 1
_PLAIN_HOSTS = 1 << 60
_REGEX = 1 << 51
_EXPRESSION = 0xFF << 56
_SIGN_32 = 1 << 31
_HEADERS_MAX = 255
_LENGTH_MASK = 0x7FFFF
_POSITION_BITS = 16

# traditional: one bit a field, in the order categories of equal size are walked
HOST, HEADER, URI, METHOD, SNI, SRC, DST = 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
WILDCARD_HOST_PORT, PLAIN_HOSTS_ONLY, REGEX_URI = 0x04, 0x02, 0x01

_SIGNED_SHIFT = 1 << 63  # makes signed Lua numbers comparable as non-negative ints
_LENGTH_MAX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Weight:
    """What a candidate's rank is made of: how many fields it uses, and of what kind."""

    fields: int
    headers: int = 0
    plain_hosts: bool = False
    regex: bool = False
    regex_priority: int = 0
    length: int = 0


def compatible_priority(weight: Weight, calculation: str = ORIGINAL) -> int:
    """The 64-bit priority of a classic route in traditional_compatible and expressions; higher is tried first."""
    counters = _counters_original(weight) if calculation == ORIGINAL else _counters_strict(weight)
    return (
        counters
        | (_PLAIN_HOSTS if weight.plain_hosts else 0)
        | (_REGEX if weight.regex else 0)
        | weight.length & _LENGTH_MASK
    )


def _counters_strict(weight: Weight) -> int:
    regex_priority = weight.regex_priority if weight.regex else 0
    return (weight.fields << 61 | min(weight.headers, _HEADERS_MAX) << 52 | regex_priority << 19) & _U64


def _counters_original(weight: Weight) -> int:
    """The counters as LuaJIT's bit library shifts plain numbers: in 32 bits, the count modulo 32.

    Or-ed with a 64-bit flag they are widened as unsigned numbers (vectors router-101-15: with four fields and a plain
    host, a regex still beats a prefix). Without a flag the result stays a signed 32-bit number; four fields or more
    make it negative, and widened by the call into the engine it has all high bits set.
    """
    regex_priority = weight.regex_priority if weight.regex else 0
    low = (weight.fields << 29 | min(weight.headers, _HEADERS_MAX) << 20 | regex_priority << 19) & _U32
    has_flag = weight.plain_hosts or weight.regex
    return low | _U64 ^ _U32 if low & _SIGN_32 and not has_flag else low


def expression_priority(priority: int) -> int:
    """The 64-bit priority of a route that carries an expression."""
    return (_EXPRESSION | priority) & _U64


def compatible_order(priority: int, matcher_id: str, position: int = 0) -> int:
    """Higher priority first, then the greater id; `position` orders the regexes of one list."""
    return ((_U64 - priority) << 128 | (_U128 - id_number(matcher_id))) << _POSITION_BITS | position


def split_id(route_id: str, group: int) -> str:
    """The id of a route's path group (counted from 1 in order of appearance) when its paths fall into several."""
    return str(uuid.uuid5(_SPLIT_NAMESPACE, f"{route_id}#{group}"))


_SPLIT_NAMESPACE = uuid.UUID("7f145bf9-0dce-4f91-98eb-debbce4b9f6b")


def id_number(route_id: str) -> int:
    """A route id as the 128-bit number ties are broken by; ids that are no uuid get one of their own."""
    try:
        return int(route_id.replace("-", ""), 16) & _U128
    except ValueError:
        return uuid.uuid5(_SPLIT_NAMESPACE, route_id).int


def category_rank(category: int) -> int:
    """The place of a traditional category: more fields first, then HOST > HEADER > URI > METHOD > SNI > SRC > DST."""
    return (7 - category.bit_count()) << 7 | (0x7F - category)


def traditional_order(
    sub_rank: int, headers: int, regex_priority: int, length: int, created_at: int | None, route_id: str, position: int
) -> int:
    """Order of a candidate among all others, whatever its category (Kong's build order).

    Kong leaves equal creation times undefined; ours then prefers the smaller id, and a route of unknown age comes last.
    """
    age = _U64 if created_at is None else created_at & _U64
    priority = _SIGNED_SHIFT + regex_priority if sub_rank & REGEX_URI else 0
    order = 7 - sub_rank
    order = order << 32 | (_U32 - min(headers, _U32))
    order = order << 65 | ((1 << 64) - priority)
    order = order << 32 | (_LENGTH_MAX - length)
    order = order << 64 | age
    return (order << 128 | id_number(route_id)) << _POSITION_BITS | position
