"""Statements for many rows: what goes in comes out, on both databases, whatever the text holds."""

from typing import Any

import pytest
import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database, insert_many, upsert

# Each of them means something in PostgreSQL's COPY format.
TEXTS = ("", "\\", "\\N", "\\.", "a\tb\nc\rd", 'quote "', "größe ☃", "{curly}", "NULL")


def entry(number: int, action: str) -> dict[str, Any]:
    return {"number": number, "at": 0.1 + number, "actor": "a", "address": "::1", "action": action, "status": 200}


def test_rows_are_read_back_as_they_were_given_when_there_are_many(database: Database) -> None:
    """Texts with every character that a stream of rows gives a meaning to; JSON; nothing at all."""
    with database.write() as connection:
        insert_many(connection, tables.audit, [entry(number, text) for number, text in enumerate(TEXTS, 1)])
        insert_many(connection, tables.audit, [])
        revision = {"number": 1, "group_id": None, "at": 1.0, "actor": "a", "summary": ""}
        revision["group_id"] = add_group(connection)
        insert_many(connection, tables.revisions, [revision])
        change = {"number": 1, "collection": "services", "entity_id": "x", "before": None}
        rows = [{**change, "position": place, "after": {"name": text}} for place, text in enumerate(TEXTS)]
        insert_many(connection, tables.revision_changes, rows)
    with database.read() as connection:
        assert list(connection.scalars(sa.select(tables.audit.c.action).order_by(tables.audit.c.number))) == [*TEXTS]
        stored = connection.execute(sa.select(tables.revision_changes).order_by(tables.revision_changes.c.position))
        assert [(row.before, row.after) for row in stored] == [(None, {"name": text}) for text in TEXTS]


def test_nothing_is_inserted_when_one_row_is_refused(database: Database) -> None:
    """A duplicate key is an error, and the transaction with it is gone."""
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        insert_many(connection, tables.audit, [entry(1, "one"), entry(2, "two"), entry(1, "again")])
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.audit)) == 0


def test_rows_replace_those_with_their_key_when_there_are_many(database: Database) -> None:
    """Some are there and some are new; columns to keep are kept, others replaced."""
    count = 501
    with database.write() as connection:
        insert_many(connection, tables.audit, [entry(number, "old") for number in range(1, count + 1)])
        upsert(
            connection, tables.audit, [{**entry(n, "new"), "actor": "b"} for n in range(1, count + 2)], keep=("actor",)
        )
    with database.read() as connection:
        rows = connection.execute(
            sa.select(tables.audit.c.action, tables.audit.c.actor).order_by(tables.audit.c.number)
        )
        assert [tuple(row) for row in rows] == [("new", "a")] * count + [("new", "b")]


def add_group(connection: sa.Connection) -> str:
    row = {"id": "g", "name": "g", "description": "", "labels": {}, "cluster_id": "c", "workspace_id": "w"}
    connection.execute(sa.insert(tables.groups), {**row, "created_at": 1.0, "updated_at": 1.0})
    return "g"
