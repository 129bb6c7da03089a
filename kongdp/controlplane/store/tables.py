"""Every table of the control plane's database, as SQLAlchemy Core.

Three families: rows of Gateway entities in a generic form (entities, entity_keys, entity_references, entity_tags),
the control plane's own objects (groups, nodes, certificates, catalogue, accounts), and status-code activity (totals
and buckets).
House rules: a table's shape changes only together with a migration (a test compares both); times are seconds since
the epoch; JSON is kept as text, so that SQLite and PostgreSQL behave alike; ids compare bytewise on both. Cold:
nothing here is on a request's path.
"""

from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator


class Json(TypeDecorator[Any]):
    """A JSON value kept as text: the same on every database, and never reinterpreted by one."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Render for the database."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Read back."""
        return None if value is None else orjson.loads(value)


# PostgreSQL would order and compare by the server's language; pages and offsets need one order everywhere.
Key = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
Id = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
# SQLite numbers rows by itself only in a column that is INTEGER to the letter.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.Float(53)

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _group() -> sa.Column[str]:
    return sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False)


groups = sa.Table(
    "groups",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", Key, nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("labels", Json, nullable=False),
    # What every export carries: the identity of the cluster and of its one workspace.
    sa.Column("cluster_id", Id, nullable=False),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
)

entities = sa.Table(
    "entities",
    METADATA,
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("collection", Key, primary_key=True),
    sa.Column("id", Id, primary_key=True),
    sa.Column("row", Json, nullable=False),
)


def _of_entity(name: str, *columns: sa.Column[Any], index: tuple[str, ...]) -> sa.Table:
    """A table whose rows belong to one entity and go with it."""
    return sa.Table(
        name,
        METADATA,
        sa.Column("group_id", Id, primary_key=True),
        sa.Column("collection", Key, primary_key=True),
        sa.Column("id", Id, primary_key=True),
        *columns,
        sa.ForeignKeyConstraint(
            ["group_id", "collection", "id"],
            ["entities.group_id", "entities.collection", "entities.id"],
            name=f"fk_{name}_entity",
            ondelete="CASCADE",
        ),
        sa.Index(f"ix_{name}_lookup", *index),
    )


entity_keys = _of_entity(
    "entity_keys",
    sa.Column("field", Key, primary_key=True),
    sa.Column("value", Key, nullable=False),
    index=("group_id", "collection", "field", "value"),
)
entity_references = _of_entity(
    "entity_references",
    sa.Column("field", Key, primary_key=True),
    sa.Column("target_id", Id, nullable=False),
    index=("group_id", "collection", "field", "target_id", "id"),
)
entity_tags = _of_entity(
    "entity_tags",
    sa.Column("tag", Key, primary_key=True),
    index=("group_id", "tag", "collection", "id"),
)

revisions = sa.Table(
    "revisions",
    METADATA,
    sa.Column("number", Serial, primary_key=True, autoincrement=True),
    _group(),
    sa.Column("at", Time, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Index("ix_revisions_group_id_number", "group_id", "number"),
)

revision_changes = sa.Table(
    "revision_changes",
    METADATA,
    sa.Column("number", Serial, sa.ForeignKey("revisions.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("collection", Key, nullable=False),
    sa.Column("entity_id", Id, nullable=False),
    sa.Column("before", Json, nullable=True),
    sa.Column("after", Json, nullable=True),
)

nodes = sa.Table(
    "nodes",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    _group(),
    sa.Column("hostname", sa.Text, nullable=False),
    sa.Column("ip", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("config_hash", sa.String(32), nullable=False),
    sa.Column("sync_status", sa.String(64), nullable=False),
    sa.Column("labels", Json, nullable=False),
    sa.Column("cert_expiry", Time, nullable=True),
    sa.Column("last_error", Json, nullable=True),
    sa.Column("last_seen", Time, nullable=False),
    # Which connection wrote last; a connection that ends may say "disconnected" only if no newer one has taken over.
    sa.Column("link_id", Id, nullable=True),
    sa.Column("disconnected_at", Time, nullable=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Index("ix_nodes_group_id", "group_id"),
)

issued_certificates = sa.Table(
    "issued_certificates",
    METADATA,
    sa.Column("serial", sa.String(40), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
    sa.Column("node_id", Id, nullable=False),
    _group(),
    sa.Column("not_before", Time, nullable=False),
    sa.Column("not_after", Time, nullable=False),
    sa.Column("issued_at", Time, nullable=False),
    sa.Column("issued_to", sa.Text, nullable=False),
    sa.Column("revoked_at", Time, nullable=True),
    sa.Index("ix_issued_certificates_node_id", "node_id"),
)

# Konnect's "pinned" certificates: self-signed ones that an operator has uploaded for nodes of a group.
pinned_certificates = sa.Table(
    "pinned_certificates",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    _group(),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("cert", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.UniqueConstraint("fingerprint"),
    sa.Index("ix_pinned_certificates_group_id", "group_id"),
)

enrolment_tokens = sa.Table(
    "enrolment_tokens",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    _group(),
    # Only the digest is kept: whoever reads the database cannot enrol a node.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
    sa.Column("used_at", Time, nullable=True),
    sa.Column("used_by", sa.Text, nullable=True),
    sa.Index("ix_enrolment_tokens_group_id", "group_id"),
)

users = sa.Table(
    "users",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", Key, nullable=False, unique=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
)

user_roles = sa.Table(
    "user_roles",
    METADATA,
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role", sa.String(32), nullable=False),
)

sessions = sa.Table(
    "sessions",
    METADATA,
    # Of sessions and tokens only digests are kept: whoever reads the database cannot sign in.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("used_at", Time, nullable=False),
    sa.Index("ix_sessions_user_id", "user_id"),
)

access_tokens = sa.Table(
    "access_tokens",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(32), nullable=False),
    # Ids of the groups it is good for; null: all that its owner may see.
    sa.Column("groups", Json, nullable=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
    sa.Column("used_at", Time, nullable=True),
    sa.Index("ix_access_tokens_user_id", "user_id"),
)

audit = sa.Table(
    "audit",
    METADATA,
    sa.Column("number", Serial, primary_key=True, autoincrement=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Index("ix_audit_at", "at"),
)

# What replicas share besides rows: the authority's certificate and key, so that each of them can enrol nodes.
shared_files = sa.Table(
    "shared_files",
    METADATA,
    sa.Column("name", Key, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
)

catalogue_services = sa.Table(
    "catalogue_services",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", Key, nullable=False),
    # The name with spaces as "-": "Example Service" and "Example-Service" are the same service (walkthrough section 2).
    sa.Column("slug", Key, nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("labels", Json, nullable=False),
    sa.Column("published", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("edition", sa.Integer, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
)

catalogue_versions = sa.Table(
    "catalogue_versions",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column("service_id", Id, sa.ForeignKey("catalogue_services.id", ondelete="CASCADE"), nullable=False),
    # RESTRICT: a group goes only after its versions were taken apart one by one.
    sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="RESTRICT"), nullable=False),
    sa.Column("name", Key, nullable=False),
    sa.Column("edition", sa.Integer, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.UniqueConstraint("service_id", "group_id", "name"),
)

implementations = sa.Table(
    "implementations",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column(
        "version_id", Id, sa.ForeignKey("catalogue_versions.id", ondelete="CASCADE"), nullable=False, unique=True
    ),
    sa.Column("gateway_service_id", Id, nullable=False, unique=True),
    sa.Column("edition", sa.Integer, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
)


def _edited() -> tuple[sa.Column[Any], ...]:
    """Of a row that people edit: how often, since when, when last."""
    return (
        sa.Column("edition", sa.Integer, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
    )


def _owned(column: str, owner: str, **options: Any) -> sa.Column[str]:
    """The id of the row that this one goes with."""
    return sa.Column(column, Id, sa.ForeignKey(f"{owner}.id", ondelete="CASCADE"), nullable=False, **options)


catalogue_documents = sa.Table(
    "catalogue_documents",
    METADATA,
    _owned("service_id", "catalogue_services", primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # As it was uploaded; what is shown is made of it at each showing.
    sa.Column("content", sa.Text, nullable=False),
    *_edited(),
)

catalogue_specs = sa.Table(
    "catalogue_specs",
    METADATA,
    _owned("version_id", "catalogue_versions", primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("dialect", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    *_edited(),
)

# One row a setting; what has none is at its default.
portal_settings = sa.Table(
    "portal_settings",
    METADATA,
    sa.Column("name", Key, primary_key=True),
    sa.Column("value", Json, nullable=False),
)

developers = sa.Table(
    "developers",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    # In lower case: one person, one account.
    sa.Column("email", Key, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    *_edited(),
    sa.Index("ix_developers_status", "status"),
)

developer_sessions = sa.Table(
    "developer_sessions",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    _owned("developer_id", "developers"),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("used_at", Time, nullable=False),
    sa.Index("ix_developer_sessions_developer_id", "developer_id"),
)

# Links by which a developer sets a new password; only the digest is kept, as of enrolment tokens.
developer_resets = sa.Table(
    "developer_resets",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    _owned("developer_id", "developers"),
    sa.Column("expires_at", Time, nullable=False),
    sa.Index("ix_developer_resets_developer_id", "developer_id"),
)

applications = sa.Table(
    "applications",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    _owned("developer_id", "developers"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("reference_id", Key, nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    *_edited(),
    sa.Index("ix_applications_developer_id", "developer_id"),
)

# A version whose applications register has a row here; it goes with the implementation that its plugins are on.
app_registrations = sa.Table(
    "app_registrations",
    METADATA,
    _owned("implementation_id", "implementations", primary_key=True),
    sa.Column("auth_type", sa.String(32), nullable=False),
    sa.Column("auto_approve", sa.Boolean(create_constraint=False), nullable=False),
    *_edited(),
)

registrations = sa.Table(
    "registrations",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    _owned("application_id", "applications"),
    _owned("version_id", "catalogue_versions"),
    sa.Column("status", sa.String(16), nullable=False),
    *_edited(),
    sa.UniqueConstraint("application_id", "version_id"),
    sa.Index("ix_registrations_version_id", "version_id"),
    sa.Index("ix_registrations_status", "status"),
)

# Which user somebody is whom an OpenID provider knows.
user_identities = sa.Table(
    "user_identities",
    METADATA,
    sa.Column("issuer", Key, primary_key=True),
    sa.Column("subject", Key, primary_key=True),
    _owned("user_id", "users"),
)

# Sign-ins that have gone to the provider and are not back: for minutes, and each used once.
sign_in_attempts = sa.Table(
    "sign_in_attempts",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("browser", sa.String(64), nullable=False),
    sa.Column("nonce", sa.Text, nullable=False),
    sa.Column("verifier", sa.Text, nullable=False),
    sa.Column("redirect_uri", sa.Text, nullable=False),
    sa.Column("next", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Index("ix_sign_in_attempts_created_at", "created_at"),
)

# Whose a route is (or was): counts are asked for by version and service, also after the route has gone.
activity_routes = sa.Table(
    "activity_routes",
    METADATA,
    sa.Column("route_id", Id, primary_key=True),
    sa.Column("group_id", Id, nullable=False),
    sa.Column("service_id", Id, nullable=True),
    sa.Column("version_id", Id, nullable=True),
    sa.Column("name", sa.Text, nullable=True),
    sa.Index("ix_activity_routes_group_id", "group_id"),
    sa.Index("ix_activity_routes_version_id", "version_id"),
    sa.Index("ix_activity_routes_service_id", "service_id"),
)

activity_boots = sa.Table(
    "activity_boots",
    METADATA,
    sa.Column("number", Serial, primary_key=True, autoincrement=True),
    sa.Column("node_id", Id, nullable=False),
    sa.Column("boot_id", Key, nullable=False),
    sa.Column("last_at", Time, nullable=False),
    # Since when its totals are part of its node's older ones: what it still sends is not counted.
    sa.Column("folded_at", Time, nullable=True),
    sa.UniqueConstraint("node_id", "boot_id"),
)

activity_totals = sa.Table(
    "activity_totals",
    METADATA,
    sa.Column("boot", Serial, sa.ForeignKey("activity_boots.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("route_id", Id, primary_key=True),
    sa.Column("code", sa.SmallInteger, primary_key=True),
    sa.Column("source", sa.SmallInteger, primary_key=True),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Index("ix_activity_totals_route_id", "route_id"),
)

activity_buckets = sa.Table(
    "activity_buckets",
    METADATA,
    sa.Column("route_id", Id, primary_key=True),
    sa.Column("width", sa.Integer, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True),
    sa.Column("node_id", Id, primary_key=True),
    sa.Column("code", sa.SmallInteger, primary_key=True),
    sa.Column("source", sa.SmallInteger, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Index("ix_activity_buckets_width_at", "width", "at"),
)
