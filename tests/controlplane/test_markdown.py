"""Markdown that people upload: shown as they meant it, and unable to act."""

import re
from html.parser import HTMLParser

import pytest

from kongdp.controlplane.markdown import render

SAFE_TAGS = {
    *("h2", "h3", "h4", "h5", "h6", "p", "a", "em", "strong", "s", "code", "pre", "ul", "ol", "li", "blockquote", "hr"),
    *("br", "table", "thead", "tbody", "tr", "th", "td"),
}  # fmt: skip
SAFE_ATTRIBUTES = {"href", "rel", "title", "class", "style", "start"}
# Source: OWASP's XSS filter evasion cheat sheet, in Markdown's places.
PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<!-- --><b onmouseover=alert(1)>x</b>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![\" onerror=alert(1) x=\"](https://h/x.png)",
    '[x](https://h "\\" onmouseover=alert(1) x=\\"")',
    "[x](https://h/\"onmouseover=alert(1))",
    "```\"><script>alert(1)</script>\nx\n```",
    "`<script>alert(1)</script>`",
    "| <script>alert(1)</script> |\n|-|\n| <img src=x onerror=alert(1)> |",
    "[<script>alert(1)</script>](https://h)",
    "[x](//h)",
    "[x](\\\\h)",
]  # fmt: skip


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags_of(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(html)
    parser.close()
    return parser.found


@pytest.mark.parametrize("text", PAYLOADS)
def test_nothing_in_a_text_acts(text: str) -> None:
    """Whatever is written, the page gets Markdown's own tags, without handlers, and links to the web or to itself."""
    for tag, attributes in tags_of(render(text)):
        assert tag in SAFE_TAGS
        assert set(attributes) <= SAFE_ATTRIBUTES
        assert re.fullmatch(r"https?://.*|mailto:.*|#.*", attributes.get("href") or "#", re.DOTALL)


def test_a_document_looks_as_it_was_meant() -> None:
    """GitHub's tables and strikethrough, code, links that say nothing of us; headings below the page's own."""
    html = render("# A\n\n[b](https://h) and [c](#c) ~~d~~\n\n|e|\n|-|\n|f|\n\n```json\n{}\n```\n")
    assert "<h2>A</h2>" in html
    assert '<a href="https://h" rel="noopener noreferrer nofollow">b</a>' in html
    assert '<a href="#c">c</a>' in html
    assert "<s>d</s>" in html
    assert "<td>f</td>" in html
    assert "<pre><code" in html


def test_an_image_is_a_link_and_loads_nothing() -> None:
    """No page of ours asks another host for anything."""
    html = render("![*a* chart](https://h/chart.png)")
    assert "<img" not in html
    assert '<a href="https://h/chart.png" rel="noopener noreferrer nofollow">a chart</a>' in html
