"""Errors of the Admin API: Kong's codes, names, messages and shapes.

An ApiError is raised wherever a request is found wrong and becomes a response in one place (api.AdminApi). Bodies
without a code, such as {"message": "Not found"}, are `plain` ones.
Source: kong/db/errors.lua and kong/api/endpoints.lua 3.9; answers of a live Kong 3.9.1.
"""

from collections.abc import Mapping
from typing import Any

from kongdp.entities.declarative_errors import DeclarativeError
from kongdp.entities.lua_text import one_line
from kongdp.entities.violations import Problems, SchemaViolation
from kongdp.errors import KongdpError, Source

# code -> (name, HTTP status)
CODES: Mapping[int, tuple[str, int]] = {
    1: ("invalid primary key", 400),
    2: ("schema violation", 400),
    3: ("primary key violation", 400),
    4: ("foreign key violation", 400),
    5: ("unique constraint violation", 409),
    6: ("not found", 404),
    7: ("invalid offset", 400),
    8: ("database error", 500),
    9: ("invalid size", 400),
    10: ("invalid unique %s", 400),
    11: ("invalid options", 400),
    12: ("operation unsupported", 405),
    13: ("foreign keys unresolved", 400),
    14: ("invalid declarative configuration", 400),
    19: ("referenced by others", 400),
}


class ApiError(KongdpError):
    """A request that is answered with an error. `headers` go with the answer."""

    source = Source.OPERATOR

    def __init__(self, status: int, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str((body or {}).get("message", status)))
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def plain(status: int, message: str, headers: Mapping[str, str] | None = None) -> ApiError:
    """An error without a code."""
    return ApiError(status, {"message": message}, headers)


def coded(code: int, message: str, fields: Mapping[str, Any] | None = None, name: str = "") -> ApiError:
    """An error with one of Kong's codes; `fields` is called `options` where it concerns the query. `name`: the code's, unless
    it is one of several.
    """
    usual, status = CODES[code]
    body: dict[str, Any] = {"code": code, "name": name or usual, "message": message}
    if fields is not None:
        body["options" if code == 11 else "fields"] = fields
    return ApiError(status, body)


def not_found() -> ApiError:
    """Nothing at this path."""
    return plain(404, "Not found")


def method_not_allowed(allowed: str) -> ApiError:
    """The path has no such method; `allowed` lists those it has."""
    return plain(405, "Method not allowed", {"Allow": allowed})


def unexpected() -> ApiError:
    """What Kong answers where it stumbles."""
    return plain(500, "An unexpected error occurred")


def schema_violation(violation: SchemaViolation) -> ApiError:
    """The entity was refused."""
    return coded(2, str(violation), violation.problems)


def violates(problems: Problems) -> ApiError:
    """The entity was refused for reasons its schema does not know."""
    return schema_violation(SchemaViolation(problems))


def primary_key_violation(key: Mapping[str, Any]) -> ApiError:
    """There is an entity with this id."""
    return coded(3, f"primary key violation on key '{one_line(key)}'", key)


def unique_violation(key: Mapping[str, Any]) -> ApiError:
    """There is an entity with these values."""
    return coded(5, f"UNIQUE violation detected on '{one_line(key)}'", key)


def foreign_key_violation(field: str, key: Mapping[str, Any], collection: str) -> ApiError:
    """A reference leads nowhere."""
    message = f"the foreign key '{one_line(key)}' does not reference an existing '{collection}' entity."
    return coded(4, message, {field: key})


def foreign_key_unresolved(field: str, name: str, value: Any, collection: str) -> ApiError:
    """A reference by name leads nowhere."""
    text = f"the foreign key cannot be resolved with '{one_line({name: value})}' for an existing '{collection}' entity"
    return coded(13, f"foreign key unresolved ({field}.{name}: {text})", {field: {name: text}})


def still_referenced(parent: str, child: str) -> ApiError:
    """An entity that others refer to cannot be deleted."""
    message = f"an existing '{child}' entity references this '{parent}' entity"
    return coded(4, message, {"@referenced_by": child})


def authority_in_use(id: str, collection: str, user_id: str) -> ApiError:
    """A trusted authority that a service names cannot be deleted."""
    return coded(19, f"ca certificate {id} is still referenced by {collection} (id = {user_id})")


def entity_not_found(key: Mapping[str, Any]) -> ApiError:
    """An edit of an entity that does not exist; `key` is its id, or the name it was asked for by."""
    how = "with primary key" if "id" in key else "with"
    return coded(6, f"could not find the entity {how} '{one_line(key)}'", key)


def invalid_offset(offset: str, reason: str) -> ApiError:
    """The query's `offset` is none that we gave."""
    return coded(7, f"'{offset}' is not a valid offset: {reason}")


def invalid_size(message: str) -> ApiError:
    """The query's `size` is none."""
    return coded(9, message)


def invalid_option(name: str, reason: str) -> ApiError:
    """Another part of the query is wrong."""
    return coded(11, f"invalid option ({name}: {reason})", {name: reason})


def unsupported_without_database(verb: str, collection: str, by: str | None = None) -> ApiError:
    """A write on a node whose configuration comes from elsewhere. `verb`: create, update, create or update, remove."""
    how = f" by '{by}'" if by else ""
    return coded(12, f"cannot {verb} '{collection}' entities{how} when not using a database")


def invalid_configuration(error: DeclarativeError, *, flatten: bool) -> ApiError:
    """A declarative configuration was refused."""
    if not flatten:
        return coded(14, str(error), error.fields)
    answer = coded(14, str(error), error.unplaced)
    assert answer.body is not None
    return ApiError(answer.status, {**answer.body, "flattened_errors": error.flattened_errors})
