"""The commented settings file, rendered from the table, so that it cannot go stale.

`python -m kongdp.settings.document > conf/kongdp.conf` writes it; a test compares.
In: nothing.  Out: text.  Cold.
"""

import sys
import textwrap
from dataclasses import fields

from kongdp.settings.foreign import UNUSED, WITHOUT_EFFECT
from kongdp.settings.model import ROWS, SECTIONS
from kongdp.settings.rows import ROW, Row, environment_name

WIDTH = 100
_RULE = "#" + "-" * (WIDTH - 1)
_HEAD = """\
Settings of kongdp. Every setting is shown with its default, commented out.

A value comes from the command line, else from the environment, else from this file, else from the
default. The environment variable of `role` is KONG_ROLE; that of `kongdp_drain_timeout_s`, a setting
that Kong does not have, is KONGDP_DRAIN_TIMEOUT_S. An empty value or NONE means unset.

The file is taken from `-c FILE`, else /etc/kongdp/kongdp.conf, /etc/kong/kong.conf or /etc/kong.conf.
In it `#` begins a comment (write \\# for the character); in the environment it does not.
on | off: on and true are on, everything else is off. Sizes: 512, 8k, 10m, 1g. Times: 500ms, 60s, 5m,
1d. Lists are separated by commas. Certificates and keys: a path, PEM text (environment only, as it
needs line ends) or base64 of PEM. Any value may be {vault://env/name}: the environment's NAME.

`kongdp check FILE` tells what is wrong with such a file.
"""
_TAIL = "Settings of Kong that are accepted and have no effect here"


def render() -> str:
    """The whole file."""
    parts = [_comment(_HEAD)]
    for section in SECTIONS:
        names = [item.name for item in fields(section) if ROW in item.metadata]
        parts.append(f"\n{_RULE}\n# {(section.__doc__ or '').upper()}\n{_RULE}\n")
        parts += [_entry(name, ROWS[name]) for name in names]
    listed = textwrap.fill(", ".join(sorted(WITHOUT_EFFECT)), WIDTH - 2)
    parts.append(f"\n{_RULE}\n# {_TAIL.upper()}\n{_RULE}\n\n{_comment(listed)}")
    return "".join(parts)


def _entry(name: str, row: Row) -> str:
    facts = f"{row.kind.word}{f', {row.unit}' if row.unit else ''}; {environment_name(name)}"
    also = f" Also: {', '.join(row.aliases)}." if row.aliases else ""
    unused = f" Accepted without effect: {UNUSED[name][0]}." if name in UNUSED else ""
    prose = _comment(textwrap.fill(f"{row.help}{unused}{also}", WIDTH - 2))
    return f"\n{prose}# [{facts}]\n#{name} = {row.default}".rstrip() + "\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(render())
