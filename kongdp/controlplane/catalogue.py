from collections.abc import Sequence

import sqlalchemy as sa

from kongdp.controlplane.store.repository import EntityChange


def follow_services(connection: sa.Connection, group_id: str, changes: Sequence[EntityChange]) -> None:
    """x"""
