"""On PYTHONPATH of a test this makes `kongdp run` use stand-in children; Python imports it before anything else.

STANDIN_OPTIONS (JSON: role -> list) are their options.
"""

import json
import os
import sys
from pathlib import Path

if "run" in sys.orig_argv:
    from kongdp.process import supervisor

    child = str(Path(__file__).parent.parent / "standin_child.py")
    options = json.loads(os.environ.get("STANDIN_OPTIONS", "{}"))
    for role in tuple(supervisor.COMMANDS):
        supervisor.COMMANDS[role] = (sys.executable, child, *options.get(role, []))
