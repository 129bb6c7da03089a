"""Body framing: how many bytes of body follow a head.

In: the raw values of the fields that frame a message.  Out: a length, "chunked", or BadMessage for framing nobody can trust.
House rule: this module decides. It reads no body bytes and never looks at a socket or a setting.
Hot. Called only for messages that carry such a field.
Source: RFC 9112 section 6.3, stricter: any list, sign, repetition or coding other than the one word "chunked" is refused, because
two parsers could read it differently (request smuggling).
"""

from kongdp.http1.messages import BadMessage

LENGTH_DIGITS_MAX = 18
"""Digits of a Content-Length we accept: below 2**63, so that no peer's integer overflows."""

CLEARED_STATUSES = frozenset((100, 102, 103, 204))
"""Answers in which Content-Length is forbidden (RFC 9110 section 8.6): one that stands there is not passed on, as in nginx."""


def content_length(value: bytes) -> int:
    """The number a Content-Length value states, in bytes. Raises BadMessage for anything but 1 to 18 digits."""
    digits = value.strip(b" \t")
    if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX:
        raise BadMessage(
            400, "Bad request", f"Content-Length is not a number of 1 to {LENGTH_DIGITS_MAX} digits: {value[:40]!r}"
        )
    return int(digits)


def check_transfer_encoding(value: bytes) -> None:
    """Accept the one word "chunked" in any case; raises BadMessage 501 for every other coding or list (Kong: 501)."""
    if value.strip(b" \t").lower() != b"chunked":
        raise BadMessage(501, "Not implemented", f"Transfer-Encoding is not the one word chunked: {value[:40]!r}")
