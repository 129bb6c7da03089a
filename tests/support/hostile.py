"""Texts that would run if a page took them for anything but text; each would set `pwned`."""

from playwright.sync_api import Page

PAYLOADS = (
    "<img src=x onerror=pwned=1>",
    "<script>pwned=1</script>",
    "{{constructor.constructor('pwned=1')()}}",
    "${pwned=1}`${pwned=1}`",
    '"><svg onload=pwned=1>',
    "javascript:pwned=1",
)
HOSTILE = " ".join(PAYLOADS)
# A tag has no slash and no comma.
TAGS = [each for each in PAYLOADS if "/" not in each]


def is_clean(page: Page) -> bool:
    """Whether no payload has run, and none has become an element or the address of a link."""
    found: bool = page.evaluate(
        "typeof pwned === 'undefined' && !document.querySelector("
        '\'img[src="x"], svg[onload], [onerror], a[href^="javascript:"]\')'
    )
    return found
