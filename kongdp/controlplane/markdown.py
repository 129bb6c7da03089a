"""Markdown as safe HTML: what people upload or write is shown to others, so nothing in it may act.

In: text.  Out: HTML that has only what Markdown itself makes: raw HTML in the text is shown as text, links go to http,
https, mailto or a place of the same page, and images are links to themselves: nothing is loaded from anywhere.
Headings begin one level lower than written, below those of the page. Pure. Cold: a document of the largest size takes
about a second.
Source: CommonMark with GitHub's tables and strikethrough, by markdown-it-py; its task lists and bare links (GFM 5.3 and
6.9) by rules of ours, which a library more would not make shorter.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

SCHEMES = frozenset(("http", "https", "mailto"))
LEVEL_MAX = 6
# Without a bound what cannot be a link would be read again and again. No address that people write is longer.
BARE_LINK_MAX = 2_048
_BARE_LINK = re.compile(
    r"(?<![^\s*_~(])(?:(?P<web>https?://|www\.)[^\s<]+|[a-z0-9.+_-]{1,64}@[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){1,8})",
    re.IGNORECASE,
)
_TRAILING = "?!.,:*_~'\""
_ENTITY = re.compile(r"&[a-z0-9]{1,32};\Z", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\]\s")


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

    def task(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """The box of a task. No field: nobody can tick it here, and one without a name would be read out as a mistake."""
        is_done = bool(tokens[idx].meta["is_done"])
        said, mark = ("done", "☑") if is_done else ("to do", "☐")
        return f'<span role="img" aria-label="{said}">{mark}</span> '

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


def _mark_tasks(state: StateCore) -> None:
    """List items that begin with [ ] or [x] are tasks."""
    for item, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if (item.type, paragraph.type) != ("list_item_open", "paragraph_open") or not inline.children:
            continue
        first = inline.children[0]
        found = _TASK.match(first.content) if first.type == "text" else None
        if found is not None:
            first.content = first.content[found.end() :]
            inline.children.insert(0, Token("task", "", 0, meta={"is_done": found[1] != " "}))
            item.attrSet("class", "task")


def _link_addresses(state: StateCore) -> None:
    """Addresses of the web and of mail that stand in a text are links."""
    for token in state.tokens:
        if token.type != "inline" or not token.children:
            continue
        depth = 0
        children: list[Token] = []
        for child in token.children:
            depth += {"link_open": 1, "link_close": -1}.get(child.type, 0)
            children.extend(_linked(state.md, child) if child.type == "text" and not depth else (child,))
        token.children = children


def _linked(markdown: MarkdownIt, text: Token) -> Iterator[Token]:
    """A text's tokens: what is between its links, and these."""
    end = 0
    for found in _BARE_LINK.finditer(text.content):
        if len(found[0]) > BARE_LINK_MAX:
            continue
        shown = _without_tail(found[0]) if found["web"] else found[0]
        scheme = "" if (found["web"] or "").endswith("//") else "http://" if found["web"] else "mailto:"
        url = markdown.normalizeLink(scheme + shown)
        if not _is_place(url) or not markdown.validateLink(url):
            continue
        yield Token("text", "", 0, content=text.content[end : found.start()])
        yield Token("link_open", "a", 1, attrs={"href": url})
        yield Token("text", "", 0, content=shown)
        yield Token("link_close", "a", -1)
        end = found.start() + len(shown)
    yield Token("text", "", 0, content=text.content[end:])


def _is_place(url: str) -> bool:
    """Whether an address has a host that can be one. Unlike GitHub's it needs no dot: people write of localhost here."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.path.rpartition("@")[2] if parts.scheme == "mailto" else parts.hostname or ""
    return bool(re.fullmatch(r"[^\W_][\w.-]*[^\W_]|[^\W_]|[0-9a-f:.]+", host)) and ".." not in host


def _without_tail(text: str) -> str:
    """An address without what belongs to the sentence around it: punctuation, an entity, a bracket that it does not open."""
    end = len(text)
    count_unopened = text.count(")") - text.count("(")
    while end:
        last = text[end - 1]
        if last == ")" and count_unopened > 0:
            count_unopened -= 1
            end -= 1
        elif last in _TRAILING:
            end -= 1
        elif entity := _ENTITY.search(text, max(0, end - 34), end):
            end = entity.start()
        else:
            break
    return text[:end]


def _make() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    markdown.validateLink = is_safe_link  # type: ignore[method-assign]  # meant to be replaced, says its documentation
    markdown.core.ruler.push("tasks", _mark_tasks)
    markdown.core.ruler.push("addresses", _link_addresses)
    return markdown


_MARKDOWN = _make()
