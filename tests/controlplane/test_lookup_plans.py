"""Look-ups among many entities use their indexes, without a planner's statistics."""

import uuid
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kongdp.adminapi.store import TagFilter
from kongdp.controlplane import groups
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from kongdp.controlplane.store.repository import GroupReader


def test_lookups_search_the_index_that_narrows_most(tmp_path: Path) -> None:
    """By value, by parent and by tag: SQLite's plan names the index made for it (a scan made each PUT take 10 ms)."""
    database = Database(f"sqlite:///{tmp_path / 'controlplane.db'}")
    migrate(database)
    group_id = groups.ensure_default(database)
    asked: list[tuple[str, Any]] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        asked.append((statement, values))

    plans: list[str] = []
    with database.read() as connection:
        reader = GroupReader(connection, group_id)
        for look in (
            lambda: reader.find("routes", "name", "x"),
            lambda: reader.page("routes", where={"service": str(uuid.uuid4())}, size=100),
            lambda: reader.page("routes", tags=TagFilter(("a", "b")), size=100),
        ):
            asked.clear()
            look()
            statement, values = asked[0]
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.append(" ".join(str(row[-1]) for row in rows))
    database.close()
    for plan, index in zip(
        plans, ("ix_entity_keys_lookup", "ix_entity_references_lookup", "ix_entity_tags_lookup"), strict=True
    ):
        assert index in plan
