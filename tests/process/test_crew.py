"""The crew of a node, as far as it can be told without a node: what the first process of a container collects."""

import subprocess
import sys

PROGRAM = """
import os, subprocess, sys
from kongdp.process.crew import reap_orphans

def ended(code):
    child = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({code})"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child

stranger = ended(0)
reap_orphans(set())
print("stranger collected", not os.path.exists(f"/proc/{stranger.pid}"))
ours = ended(78)
reap_orphans({ours.pid})
print("ours ended with", ours.wait())
reap_orphans(set())
print("no child left")
"""


def test_orphans_are_collected_and_our_children_are_not() -> None:
    """A child of ours keeps its exit code for whoever asks; and the end of the last one, which is the end of every
    container, is no error.
    """
    # In a process of its own: it would collect what other tests have started.
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["stranger collected True", "ours ended with 78", "no child left"], done.stderr
    assert done.returncode == 0
