"""Node settings: one table (name, type, default, unit, help), read once at start, frozen.

Take `load_settings`, `Settings`, `SettingsError`, `Listener` and `Paths` from here. The table itself is in node.py,
proxying.py and security.py; kinds.py says how text becomes a value, loading.py where text comes from, rules.py what
values must agree on, foreign.py which of Kong's keys mean nothing here, document.py writes conf/kongdp.conf.
House rule: only process, cli and controlplane.server read settings; everybody else is handed the values.
"""

from kongdp.settings.kinds import Buffers
from kongdp.settings.listening import Listener
from kongdp.settings.loading import SettingsError, find_prefix, load_settings
from kongdp.settings.model import Settings
from kongdp.settings.paths import Paths
from kongdp.settings.rows import environment_name
from kongdp.settings.rules import opened

__all__ = [
    "Buffers",
    "Listener",
    "Paths",
    "Settings",
    "SettingsError",
    "environment_name",
    "find_prefix",
    "load_settings",
    "opened",
]
