"""Markdown that people upload: shown as they meant it, and unable to act."""

import re
from html.parser import HTMLParser

import pytest

from kongdp.controlplane.markdown import render

SAFE_TAGS = {
    *("h2", "h3", "h4", "h5", "h6", "p", "a", "em", "strong", "s", "code", "pre", "ul", "ol", "li", "blockquote", "hr"),
    *("br", "table", "thead", "tbody", "tr", "th", "td", "span"),
}  # fmt: skip
SAFE_ATTRIBUTES = {"href", "rel", "title", "class", "style", "start", "role", "aria-label"}
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
    "- [ ] <script>alert(1)</script>",
    "- [x\" onmouseover=alert(1)] x",
    "- [x] [x](javascript:alert(1)) javascript:alert(1)",
    "https://h/\"onmouseover=alert(1)//",
    "https://h/'><img/src=x/onerror=alert(1)>",
    "http://javascript:alert(1)",
    "www.h/\"><svg/onload=alert(1)>",
    "a@h.x\"onmouseover=alert(1)",
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


def test_tasks_have_their_boxes() -> None:
    """As text that says its state; only where an item begins with one."""
    html = render("- [ ] a\n- [x] *b*\n\n  c\n1. [X] d\n- e [ ] f\n- [ ]g\n- [] h\n\n[ ] i")
    to_do, done = '<span role="img" aria-label="to do">☐</span> ', '<span role="img" aria-label="done">☑</span> '
    assert f'<li class="task">{to_do}a</li>' in render("- [ ] a")
    assert (html.count('class="task"'), html.count(to_do), html.count(done)) == (3, 1, 2)
    assert f"{done}<em>b</em>" in html
    assert [each in html for each in ("e [ ] f", "[ ]g", "[] h", "<p>[ ] i</p>")] == [True] * 4


@pytest.mark.parametrize(
    ("text", "url", "shown", "after"),
    [
        # Source: GitHub Flavored Markdown 6.9, examples 622 to 631.
        ("www.commonmark.org", "http://www.commonmark.org", "www.commonmark.org", ""),
        ("Visit www.commonmark.org/a.b.", "http://www.commonmark.org/a.b", "www.commonmark.org/a.b", "."),
        ("(www.google.com/search?q=a+(b))", "http://www.google.com/search?q=a+(b)", "www.google.com/search?q=a+(b)", ")"),
        ("www.google.com/search?q=a&hl;", "http://www.google.com/search?q=a", "www.google.com/search?q=a", "&amp;hl;"),
        ("www.commonmark.org/he<lp", "http://www.commonmark.org/he", "www.commonmark.org/he", "&lt;lp"),
        ("**https://h.test/a_b_c!**", "https://h.test/a_b_c", "https://h.test/a_b_c", "!"),
        ("foo@bar.baz", "mailto:foo@bar.baz", "foo@bar.baz", ""),
        # Ours.
        ("http://localhost:8000/mock", "http://localhost:8000/mock", "http://localhost:8000/mock", ""),
        ("http://[::1]:8000/", "http://[::1]:8000/", "http://[::1]:8000/", ""),
    ],
)  # fmt: skip
def test_an_address_in_a_text_is_a_link(text: str, url: str, shown: str, after: str) -> None:
    """Without what belongs to the sentence; it says nothing of us, as any other."""
    assert f'<a href="{url}" rel="noopener noreferrer nofollow">{shown}</a>{after}' in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "`https://h`", "    https://h", "xhttps://h", "https://", "www.", "http://..", "ftp://h", "h.test", "a@b", "/www.h",
        "http://-", f"https://h/{'a' * 2100}",
    ],
)  # fmt: skip
def test_other_text_is_no_link(text: str) -> None:
    """Code, what only looks like an address, and what nobody writes."""
    assert "<a" not in render(text)


def test_an_address_in_a_link_is_its_text() -> None:
    """A link in a link would be two."""
    assert render("[see https://h](https://g)").count("<a ") == 1
