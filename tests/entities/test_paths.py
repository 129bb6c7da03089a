"""Paths of services and routes, regular expressions among them, and their older forms."""

import pytest

from kongdp.entities.paths import migrate_path, normalize, percent_problem, route_path_problem, service_path_problem
from kongdp.entities.regex import regex_problem, rust_named_groups


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        # Router specification, section 2.
        ("/a//b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../x", "/x"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/%2E%2E/b", "/b"),
        ("/..%2f", "/..%2F"),
        ("/a%2fb", "/a%2Fb"),
        ("/%61", "/a"),
        ("/a%20b", "/a b"),
        ("/%C3%A9", "/é"),
        ("/%2541", "/%2541"),
        ("/", "/"),
        ("", ""),
        ("/.hidden/...", "/.hidden/..."),
    ],
)
def test_normalize_when_written_otherwise(path: str, normal: str) -> None:
    """Percent-encoding is undone once, dot segments and double slashes go."""
    assert normalize(path) == normal


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/orders", None),
        ("/a b", None),
        ("/a%2", "invalid url-encoded value: '%2'"),
        ("/a%zz", "invalid url-encoded value: '%zz'"),
        ("/a/../b", "non-normalized path, consider use '/b' instead"),
        ("/%ff", "non-normalized path, consider use '/\ufffd' instead"),
        (r"~/a/(?<id>\d+)$", None),
        ("~/a%2", None),
        (
            "~/(",
            "invalid regex: '/(' (PCRE returned: pcre2_compile() failed: missing closing parenthesis in \"/(\")",
        ),
    ],
)
def test_route_path_problem_when_judged(path: str, reason: str | None) -> None:
    """A prefix must be in normal form, a regular expression must compile."""
    assert route_path_problem(path) == reason


def test_service_path_problem_when_judged() -> None:
    """A service's path has only characters that a URL may have."""
    assert service_path_problem("/a%20b") is None
    assert percent_problem("/plain") is None
    assert service_path_problem("/a%2") == "invalid url-encoded value: '%2'"
    wanted = "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)"
    assert service_path_problem("/a b") == wanted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/plain", "/plain"),
        ("/a%2fb/../c", "/c"),
        (r"/a/\d+", r"~/a/\d+"),
        ("/a%2Eb(c)", r"~/a\.b(c)"),
        ("/a%2fb(c)", "~/a%2Fb(c)"),
        ("/%61(c)", "~/a(c)"),
        ("nonsense(", "nonsense("),
    ],
)
def test_migrate_path_when_of_an_older_format(old: str, new: str) -> None:
    """Paths of formats 1.1 and 2.1 become prefixes in normal form, or expressions with their mark."""
    assert migrate_path(old) == new


def test_rust_named_groups_when_escaped() -> None:
    """Named groups are rewritten, look-behinds and escaped parentheses are not."""
    assert rust_named_groups(r"(?<a>x)\(?<b>(?<=c)(?<!d)") == r"(?P<a>x)\(?<b>(?<=c)(?<!d)"


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(a)\1", "a**", "[z-a]", "a)", "[a", "x{2000}", "\\"])
def test_regex_problem_when_it_cannot_be_used(pattern: str) -> None:
    """What the engine lacks or nobody understands is refused with a reason that shows the expression."""
    problem = regex_problem(pattern)
    assert problem is not None
    assert problem.startswith("pcre2_compile() failed: ")
    assert pattern in problem
