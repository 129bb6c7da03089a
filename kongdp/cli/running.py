"""A running node as a command meets it: may it be read, may it be signalled.

In: the paths of a node.  Out: nothing, or the problem in one line with the way out: most often the node is another user's.
Cold.
"""

import os
import pwd
from pathlib import Path

from kongdp.process.state import RunningNode, StateError
from kongdp.settings import Paths


def check_access(paths: Paths) -> None:
    """Raises StateError when this user may not know whether a node runs there."""
    for path in (paths.pid_file, paths.state_file):
        try:
            path.open("rb").close()
        except PermissionError as error:
            raise StateError(f"cannot read {path}: {error.strerror}; {_way_out(paths.prefix)}") from None
        except OSError:  # none is there: no node runs
            continue


def signal_node(process: RunningNode, number: int) -> str | None:
    """Send a signal; the problem when that is not allowed. A process that is gone is none."""
    if not process.is_alive:
        return None
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return None
    except PermissionError as error:
        return (
            f"cannot signal the node (pid {process.pid}): {error.strerror}; {_way_out(Path('/proc', str(process.pid)))}"
        )
    return None


def _way_out(belongings: Path) -> str:
    """Whose it is, and that only they and root may: the owner of a directory of the node or of its process."""
    try:
        owner = belongings.stat().st_uid
    except OSError:
        return "run this command as the user that the node runs as, or as root"
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"with the id {owner}"
    return f"it belongs to user {name}: run this command as that user or as root"
