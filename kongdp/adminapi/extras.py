"""What a few collections do besides the rules of all.

Certificates make and show server names, are found by them; credentials expire; plugins must share a protocol with what
they are put on; services name certificate authorities in a list. Each is one Extras, looked up by collection.
Source: kong/db/dao/{certificates,snis,plugins,ca_certificates}.lua 3.9.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kongdp.adminapi import errors
from kongdp.adminapi.store import Reader, Writer
from kongdp.entities.addresses import parse_address
from kongdp.entities.schemas.balancing import TARGET_PORT
from kongdp.entities.schemas.certificates import SNIS
from kongdp.entities.table import Row

# A certificate has few server names and a service few routes in one answer; what is beyond is not looked at.
_RELATED_MAX = 10_000
# Kong's limit of a time to live, in seconds.
_TTL_MAX = 100_000_000


class Extras:
    """The hooks, each doing nothing."""

    def key(self, key: str) -> str:
        """The endpoint key as it is stored."""
        return key

    def find(self, reader: Reader, key: str) -> Row | None:
        """A row by something else than its id or endpoint key."""
        return None

    def named(self, raw: dict[str, Any], key: str) -> dict[str, Any] | None:
        """The arguments for an entity addressed by something else than its id or endpoint key, or None."""
        return None

    def accepted(self, raw: dict[str, Any], now: float) -> dict[str, Any]:
        """The arguments as the schema is to see them."""
        return raw

    def check(self, writer: Writer, row: Row, previous: Row | None) -> None:
        """Rules that need other rows. Raises ApiError."""

    def check_delete(self, writer: Writer, row: Row) -> None:
        """Rules for removal that need other rows. Raises ApiError."""

    def stored(self, row: Row) -> Row:
        """The row as the store keeps it."""
        return row

    def children(self, writer: Writer, row: Row, given: Mapping[str, Any], now: float) -> Iterable[tuple[str, Row]]:
        """Rows of other collections to be stored with this one; may delete some itself."""
        return ()

    def shown(self, reader: Reader, row: Row, now: float) -> Row:
        """The row as answers show it."""
        return row


class _Targets(Extras):
    def key(self, key: str) -> str:
        address = parse_address(key)
        return key if isinstance(address, str) else address.text(TARGET_PORT)


class _Certificates(Extras):
    def find(self, reader: Reader, key: str) -> Row | None:
        sni = reader.find("snis", "name", key)
        return None if sni is None else reader.get("certificates", sni["certificate"]["id"])

    def named(self, raw: dict[str, Any], key: str) -> dict[str, Any] | None:
        names = raw.get("snis")
        if names is not None and (not isinstance(names, list) or key in names):
            return raw
        return {**raw, "snis": [*(names or ()), key]}

    def check(self, writer: Writer, row: Row, previous: Row | None) -> None:
        names = row["snis"] or []
        for position, name in enumerate(names):
            if name in names[:position]:
                raise errors.violates({"snis": f"{name} is duplicated"})
            taken = writer.find("snis", "name", name)
            if taken is not None and taken["certificate"]["id"] != row["id"]:
                id = taken["certificate"]["id"]
                raise errors.violates({"snis": f"{name} already associated with existing certificate '{id}'"})

    def stored(self, row: Row) -> Row:
        return {**row, "snis": None}

    def children(self, writer: Writer, row: Row, given: Mapping[str, Any], now: float) -> Iterable[tuple[str, Row]]:
        names = given.get("snis")
        if names is None:
            return
        present = {sni["name"]: sni for sni in _snis(writer, row["id"])}
        for name, sni in present.items():
            if name not in names:
                writer.delete("snis", sni["id"])
        for name in names:
            if name not in present:
                yield "snis", SNIS.insert({"name": name, "certificate": {"id": row["id"]}}, now)

    def shown(self, reader: Reader, row: Row, now: float) -> Row:
        return {**row, "snis": sorted(sni["name"] for sni in _snis(reader, row["id"]))}


def _snis(reader: Reader, certificate_id: str) -> list[Row]:
    return reader.page("snis", where={"certificate": certificate_id}, size=_RELATED_MAX)


class _Authorities(Extras):
    def check_delete(self, writer: Writer, row: Row) -> None:
        after = None
        while services := writer.page("services", size=1000, after=after):
            for service in services:
                if row["id"] in (service["ca_certificates"] or ()):
                    raise errors.authority_in_use(row["id"], "services", service["id"])
            after = services[-1]["id"]


class _Services(Extras):
    def check(self, writer: Writer, row: Row, previous: Row | None) -> None:
        for id in row["ca_certificates"] or ():
            if writer.get("ca_certificates", id) is None:
                raise errors.foreign_key_violation("ca_certificates", {"id": id}, "ca_certificates")


class _Expiring(Extras):
    """`ttl` is a duration in requests and answers, and the epoch second of the end in rows."""

    def accepted(self, raw: dict[str, Any], now: float) -> dict[str, Any]:
        ttl = raw.get("ttl")
        if ttl is None:
            return raw
        if isinstance(ttl, str) and ttl.isascii() and ttl.isdigit() and len(ttl) < 12:
            ttl = int(ttl)
        if type(ttl) not in (int, float) or ttl != int(ttl) or not 0 <= ttl <= _TTL_MAX:
            raise errors.invalid_option("ttl", f"must be an integer between 0 and {_TTL_MAX}")
        return {**raw, "ttl": int(now + ttl) if ttl else None}

    def shown(self, reader: Reader, row: Row, now: float) -> Row:
        return row if row["ttl"] is None else {**row, "ttl": max(0, int(row["ttl"] - now))}


class _Plugins(Extras):
    def check(self, writer: Writer, row: Row, previous: Row | None) -> None:
        protocols = set(row["protocols"])
        if row["route"] is not None:
            route = writer.get("routes", row["route"]["id"])
            if route is not None and protocols.isdisjoint(route["protocols"]):
                raise errors.violates({"protocols": "must match the associated route's protocols"})
        elif row["service"] is not None:
            routes = writer.page("routes", where={"service": row["service"]["id"]}, size=_RELATED_MAX)
            if routes and all(protocols.isdisjoint(route["protocols"]) for route in routes):
                text = "must match the protocols of at least one route pointing to this Plugin's service"
                raise errors.violates({"protocols": text})


NO_EXTRAS = Extras()

EXTRAS: Mapping[str, Extras] = {
    "ca_certificates": _Authorities(),
    "certificates": _Certificates(),
    "keyauth_credentials": _Expiring(),
    "plugins": _Plugins(),
    "services": _Services(),
    "targets": _Targets(),
}
