"""Files that are replaced whole, and what is left of one whose writer was killed.

In: a path and its new content.  Out: the file; a reader sees the old content or the new, never a part.
House rules: written beside as `.<name>.<pid>`, then renamed; private unless the caller says otherwise. Only a writer that was
killed leaves its file beside: whoever owns the directory removes it at its next start, and never one whose writer lives.
Cold; blocking. Knows no other module of the package.
"""

import contextlib
import os
import re
import stat
from pathlib import Path

_PID = re.compile(r"[1-9][0-9]{0,8}")


def replace_file(path: Path, content: bytes, *, mode: int = 0o600, is_lasting: bool = True) -> None:
    """Put `content` in force. `is_lasting`: also after a power cut. Raises OSError; the old file stays then."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)  # left by a process that had our pid: its mode may be another
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
            if is_lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def remove_abandoned(*paths: Path) -> None:
    """Remove what killed writers left beside these files; a path's last part may be a pattern (`*.json`). Called before the
    first `replace_file` of this process.
    """
    for path in paths:
        for beside in path.parent.glob(f".{path.name}.*"):
            if _is_abandoned(beside):
                with contextlib.suppress(OSError):  # somebody else's to complain about: the directory is not ours
                    beside.unlink()


def _is_abandoned(beside: Path) -> bool:
    pid = beside.name.rpartition(".")[2]
    if not _PID.fullmatch(pid) or (int(pid) != os.getpid() and _is_alive(int(pid))):
        return False
    try:
        found = beside.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
