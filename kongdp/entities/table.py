"""The words rooms use for configuration that has been validated: row, table, change.

A Row is one entity as Kong's JSON shows it, defaults filled in; a foreign key in it is {"id": "<uuid>"} or None. A
Table maps a collection's name ("services", "keyauth_credentials", ...: Kong's declarative names) to its rows by id. A
Change replaces or, with None, removes one row; a difference between two tables is a list of them.
House rule: a row in a table is never modified in place. Whoever changes an entity makes a new row, so that equal rows
may be shared between the old table and the new one.
"""

from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = dict[str, dict[str, Row]]
Change: TypeAlias = tuple[str, str, Row | None]
