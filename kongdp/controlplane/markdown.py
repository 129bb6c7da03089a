"""Markdown as safe HTML: what people upload or write is shown to others, so nothing in it may act.

In: text.  Out: HTML that has only what Markdown itself makes: raw HTML in the text is shown as text, links go to http,
https, mailto or a place of the same page, and images are links to themselves: nothing is loaded from anywhere.
Headings begin one level lower than written, below those of the page. Pure. Cold: a document of the largest size takes
about a second.
Source: CommonMark with GitHub's tables and strikethrough, by markdown-it-py.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

SCHEMES = frozenset(("http", "https", "mailto"))
LEVEL_MAX = 6


def render(text: str) -> str:
    """The HTML of a text."""
    return str(_MARKDOWN.render(text))


def is_safe_link(url: str) -> bool:
    """Whether a link may stay one. Relative links lead nowhere here, except within the page."""
    if url.startswith("#"):
        return True
    try:
        return urlsplit(url.strip()).scheme.lower() in SCHEMES
    except ValueError:
        return False


class _Renderer(RendererHTML):
    """HTML of tokens; images become links."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """The text that stands for an image, leading to it."""
        image = tokens[idx]
        url = str(image.attrs.get("src", ""))
        text = self.renderInlineAsText(image.children or [], options, env) or url
        opening = Token("link_open", "a", 1, attrs={"href": url, **_LINK})
        written = Token("text", "", 0, content=text)
        return self.render([opening, written, Token("link_close", "a", -1)], options, env)

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A link that tells the other side nothing of us."""
        token = tokens[idx]
        if not str(token.attrs.get("href", "")).startswith("#"):
            for name, value in _LINK.items():
                token.attrSet(name, value)
        return self.renderToken(tokens, idx, options, env)

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A heading, one level lower."""
        tokens[idx].tag = _lower(tokens[idx].tag)
        return self.renderToken(tokens, idx, options, env)

    heading_close = heading_open

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A cell whose alignment is a class: pages of ours take no styles from within."""
        style = str(tokens[idx].attrs.pop("style", ""))
        if style:
            tokens[idx].attrSet("class", style.replace("text-align:", "align-"))
        return self.renderToken(tokens, idx, options, env)

    td_open = th_open


_LINK = {"rel": "noopener noreferrer nofollow"}


def _lower(tag: str) -> str:
    return f"h{min(int(tag[1:]) + 1, LEVEL_MAX)}"


def _make() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    markdown.validateLink = is_safe_link  # type: ignore[method-assign]  # meant to be replaced, says its documentation
    return markdown


_MARKDOWN = _make()
