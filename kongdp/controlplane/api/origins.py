"""Which web pages may use the API from a browser: CORS for Kong Manager, and no for every other page.

In: the Origin of a request.  Out: whether its page is ours, and the fields that tell the browser so. A request without
Origin comes from no page. On loopback the API asks for no credentials, as Kong's does; without this any page that an operator
visits could change the gateway with a form.
House rule: a page that may not is refused here and not only kept from reading the answer: a form is sent before a browser asks.
Cold. Source: Fetch standard, section 3.2; Kong's setting `admin_gui_url`; which pages are let in without it is ours.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
FIELDS = "Authorization, Content-Type, If-Match, Kong-Admin-Token, X-CSRF-Token"
SHOWN = "ETag, Retry-After"
PREFLIGHT_S = 600
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class Origins:
    """The pages that may. `urls`: of Kong Manager or consoles elsewhere (`admin_gui_url`); without any, those on loopback."""

    def __init__(self, urls: Sequence[str] = ()) -> None:
        self._known = frozenset(_origin(url) for url in urls)

    def allow(self, headers: Headers) -> bool:
        """Whether the request comes from no page, from one of the API's own, or from a known one."""
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            place = urlsplit(origin)
        except ValueError:
            return False
        if place.netloc and place.netloc.lower() == headers.get("host", "").lower():
            return True
        return _origin(origin) in self._known if self._known else place.hostname in LOOPBACK


def _origin(url: str) -> str:
    place = urlsplit(url)
    return f"{place.scheme}://{place.netloc}".lower()


def answer_fields(headers: Headers) -> dict[str, str]:
    """What a browser must read in an answer to a page that may."""
    return {
        "access-control-allow-origin": headers["origin"],
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": SHOWN,
        "vary": "Origin",
    }


def preflight_fields() -> dict[str, str]:
    """What a browser asks before it sends something that no form could."""
    return {
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": FIELDS,
        "access-control-max-age": str(PREFLIGHT_S),
    }
