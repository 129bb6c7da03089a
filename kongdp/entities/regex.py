"""Whether a regular expression of the configuration can be used.

Kong compiles route regexes with PCRE for validation and with Rust's engine for matching; we match with RE2, the engine
nearest to Rust's, so the test is RE2's. What RE2 lacks (look-around, back-references, possessive quantifiers) is
refused here with a reason, before any worker sees it; a Kong with Rust's engine refuses the same.
Source: spec of the router (`(?<` becomes `(?P<`), message form of a live Kong 3.9.1.
"""

import re
from typing import Any

import re2

_NAMED_GROUP = re.compile(r"(\\.)|\(\?<(?![=!])", re.DOTALL)
_OPTIONS: Any = re2.Options()
_OPTIONS.log_errors = False
# The program of one expression; RE2's own default of 8 MiB lets a single route take that much in every process.
_OPTIONS.max_mem = 2 << 20

# RE2's words -> PCRE's, for the mistakes both call by a name.
_PCRE_WORDS = (
    ("missing )", "missing closing parenthesis"),
    ("unexpected )", "unmatched closing parenthesis"),
    ("missing ]", "missing terminating ] for character class"),
    ("no argument for repetition operator", "quantifier does not follow a repeatable item"),
    ("invalid character class range", "range out of order in character class"),
    ("trailing \\", "\\ at end of pattern"),
)


def rust_named_groups(pattern: str) -> str:
    """The pattern with `(?<name>` written as `(?P<name>`, the only form older engines of this kind know."""
    return _NAMED_GROUP.sub(lambda found: found[1] or "(?P<", pattern)


def compile_regex(pattern: str) -> Any:
    """The compiled pattern, with `search` and `fullmatch`, in linear time. For one that `regex_problem` has passed."""
    return re2.compile(rust_named_groups(pattern), _OPTIONS)


def regex_problem(pattern: str) -> str | None:
    """Why the pattern cannot be used, in PCRE's words where they fit, or None when it can."""
    try:
        compile_regex(pattern)
    except re2.error as error:
        words = error.args[0] if error.args else error
        return _pcre_text(words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words), pattern)
    except UnicodeEncodeError:
        return f'pcre2_compile() failed: UTF-8 error in "{pattern!a}"'
    return None


def _pcre_text(words: str, pattern: str) -> str:
    for ours, theirs in _PCRE_WORDS:
        if words.startswith(ours):
            return f'pcre2_compile() failed: {theirs} in "{pattern}"'
    return f'pcre2_compile() failed: {words} in "{pattern}"'
