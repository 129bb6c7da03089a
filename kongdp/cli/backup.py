"""`kongdp control-plane backup` and `restore`: a control plane in one file, and out of it.

In: a file's name and the settings, which say where the control plane keeps what it has.  Out: progress and a summary on
stdout, every problem on stderr.  Cold.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kongdp.cli.console import fail, fail_all, say
from kongdp.cli.options import settings_of
from kongdp.cli.run import CONTROL_PLANE_EXTRA
from kongdp.errors import KongdpError
from kongdp.settings import Settings, SettingsError

if TYPE_CHECKING:
    from kongdp.controlplane.store.database import Database


def backup(arguments: argparse.Namespace) -> int:
    """Write a backup."""
    return _with_settings(arguments, _backup)


def restore(arguments: argparse.Namespace) -> int:
    """Restore one."""
    return _with_settings(arguments, _restore)


def _with_settings(arguments: argparse.Namespace, work: Callable[[argparse.Namespace, Settings], int]) -> int:
    try:
        return work(arguments, settings_of(arguments, role="control_plane"))
    except SettingsError as error:
        return fail_all(error.problems)
    except KongdpError as error:
        return fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in CONTROL_PLANE_EXTRA:
            raise
        return fail(f"the control plane needs more packages ({error.name}): pip install 'kongdp[controlplane]'")


def _backup(arguments: argparse.Namespace, settings: Settings) -> int:
    from kongdp.controlplane.backup import make_backup

    path = Path(arguments.file)
    with _database(settings) as database:
        summary = make_backup(database, Path(settings.prefix), path, _Progress().tell, time.time())
    say(f"wrote {path}: {summary.count} rows and the certificate authority, {path.stat().st_size / 1024:.0f} KiB.")
    say("It holds private keys, credentials and password hashes: keep it as you keep those.")
    return 0


def _restore(arguments: argparse.Namespace, settings: Settings) -> int:
    from kongdp.controlplane.backup import restore_backup

    with _database(settings) as database:
        summary = restore_backup(
            database, Path(settings.prefix), Path(arguments.file), _Progress().tell, replace=arguments.replace
        )
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(summary.made_at))
    say(f"restored {summary.count} rows and the certificate authority as of {made}.")
    return 0


@contextmanager
def _database(settings: Settings) -> "Iterator[Database]":
    from kongdp.controlplane.store.database import Database, database_url

    database = Database(database_url(settings.kongdp_database_url, settings.prefix))
    try:
        yield database
    finally:
        database.close()


class _Progress:
    """A line for each table that has rows, and one every few seconds within a large one."""

    EVERY_S = 2.0

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def tell(self, table: str, done: int, total: int) -> None:
        """So many rows of a table are done."""
        now = time.monotonic()
        if total and (done == total or now - self._said_at >= self.EVERY_S):
            say(f"{table}: {done} of {total} rows")
            self._said_at = now
