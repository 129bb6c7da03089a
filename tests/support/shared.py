"""Things that all processes of one test run share: made by whoever needs them first, found by the others, gone at the end.

In: a name and a function that makes the thing and says, in JSON, where it is.  Out: that word, the same in every process.
The process that was started by hand (with pytest-xdist: the one that runs no tests) makes the directory and removes it.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_VARIABLE = "TEST_RUN_DIRECTORY"


def open_directory() -> None:
    """Make the run's directory; processes that are started from now on inherit where it is."""
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="kongdp-tests-")


def directory() -> Path:
    """The run's directory."""
    return Path(os.environ[_VARIABLE])


def close_directory() -> None:
    """Have it removed with all that is in it; nobody waits, as the databases have a hundred thousand files."""
    os.spawnlp(os.P_NOWAIT, "rm", "rm", "-rf", os.environ.pop(_VARIABLE))


def once(name: str, make: Callable[[], Any]) -> Any:
    """What `make` answered in the process that came first; the others wait for it meanwhile.

    Where that failed it fails for all: a second try would find what the first one left half made, and take as long.
    """
    with (directory() / f"{name}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if not text:
            try:
                text = json.dumps({"made": make()})
            except Exception as error:
                file.write(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
                raise
            file.write(text)
        answer = json.loads(text)
    assert "failed" not in answer, f"{name} could not be made by the process that came first: {answer['failed']}"
    return answer["made"]
