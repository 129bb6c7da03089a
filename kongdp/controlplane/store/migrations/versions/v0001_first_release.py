"""The first release's tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "activity_boots",
        sa.Column("number", SERIAL, autoincrement=True, nullable=False),
        sa.Column("node_id", ID, nullable=False),
        sa.Column("boot_id", KEY, nullable=False),
        sa.Column("last_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_activity_boots")),
        sa.UniqueConstraint("node_id", "boot_id", name=op.f("uq_activity_boots_node_id_boot_id")),
    )
    op.create_table(
        "activity_buckets",
        sa.Column("route_id", ID, nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("node_id", ID, nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "route_id", "width", "at", "node_id", "code", "source", name=op.f("pk_activity_buckets")
        ),
    )
    op.create_index("ix_activity_buckets_width_at", "activity_buckets", ["width", "at"], unique=False)
    op.create_table(
        "activity_routes",
        sa.Column("route_id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("service_id", ID, nullable=True),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("route_id", name=op.f("pk_activity_routes")),
    )
    op.create_index("ix_activity_routes_service_id", "activity_routes", ["service_id"], unique=False)
    op.create_index("ix_activity_routes_version_id", "activity_routes", ["version_id"], unique=False)
    op.create_table(
        "catalogue_services",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("slug", KEY, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalogue_services")),
        sa.UniqueConstraint("slug", name=op.f("uq_catalogue_services_slug")),
    )
    op.create_table(
        "groups",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("cluster_id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
    )
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "activity_totals",
        sa.Column("boot", SERIAL, nullable=False),
        sa.Column("route_id", ID, nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.SmallInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["boot"], ["activity_boots.number"], name=op.f("fk_activity_totals_boot"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("boot", "route_id", "code", "source", name=op.f("pk_activity_totals")),
    )
    op.create_table(
        "catalogue_versions",
        sa.Column("id", ID, nullable=False),
        sa.Column("service_id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_catalogue_versions_group_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["service_id"], ["catalogue_services.id"], name=op.f("fk_catalogue_versions_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalogue_versions")),
        sa.UniqueConstraint(
            "service_id", "group_id", "name", name=op.f("uq_catalogue_versions_service_id_group_id_name")
        ),
    )
    op.create_table(
        "enrolment_tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.Column("used_at", sa.Float(precision=53), nullable=True),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_enrolment_tokens_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_enrolment_tokens_digest")),
    )
    op.create_index("ix_enrolment_tokens_group_id", "enrolment_tokens", ["group_id"], unique=False)
    op.create_table(
        "entities",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_entities_group_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_id", "collection", "id", name=op.f("pk_entities")),
    )
    op.create_table(
        "issued_certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("node_id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("not_before", sa.Float(precision=53), nullable=False),
        sa.Column("not_after", sa.Float(precision=53), nullable=False),
        sa.Column("issued_at", sa.Float(precision=53), nullable=False),
        sa.Column("issued_to", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_issued_certificates_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_issued_certificates")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_issued_certificates_fingerprint")),
    )
    op.create_index("ix_issued_certificates_node_id", "issued_certificates", ["node_id"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.String(length=32), nullable=False),
        sa.Column("sync_status", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("cert_expiry", sa.Float(precision=53), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_seen", sa.Float(precision=53), nullable=False),
        sa.Column("link_id", ID, nullable=True),
        sa.Column("disconnected_at", sa.Float(precision=53), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_nodes_group_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
    )
    op.create_index("ix_nodes_group_id", "nodes", ["group_id"], unique=False)
    op.create_table(
        "pinned_certificates",
        sa.Column("id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("cert", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_pinned_certificates_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pinned_certificates")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_pinned_certificates_fingerprint")),
    )
    op.create_index("ix_pinned_certificates_group_id", "pinned_certificates", ["group_id"], unique=False)
    op.create_table(
        "revisions",
        sa.Column("number", SERIAL, autoincrement=True, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_revisions_group_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_revisions")),
    )
    op.create_index("ix_revisions_group_id_number", "revisions", ["group_id", "number"], unique=False)
    op.create_table(
        "entity_keys",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("field", KEY, nullable=False),
        sa.Column("value", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id", "collection", "id"],
            ["entities.group_id", "entities.collection", "entities.id"],
            name="fk_entity_keys_entity",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", "collection", "id", "field", name=op.f("pk_entity_keys")),
    )
    op.create_index("ix_entity_keys_lookup", "entity_keys", ["group_id", "collection", "field", "value"], unique=False)
    op.create_table(
        "entity_references",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("field", KEY, nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id", "collection", "id"],
            ["entities.group_id", "entities.collection", "entities.id"],
            name="fk_entity_references_entity",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", "collection", "id", "field", name=op.f("pk_entity_references")),
    )
    op.create_index(
        "ix_entity_references_lookup",
        "entity_references",
        ["group_id", "collection", "field", "target_id", "id"],
        unique=False,
    )
    op.create_table(
        "entity_tags",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("tag", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id", "collection", "id"],
            ["entities.group_id", "entities.collection", "entities.id"],
            name="fk_entity_tags_entity",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", "collection", "id", "tag", name=op.f("pk_entity_tags")),
    )
    op.create_index("ix_entity_tags_lookup", "entity_tags", ["group_id", "tag", "collection", "id"], unique=False)
    op.create_table(
        "implementations",
        sa.Column("id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("gateway_service_id", ID, nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["catalogue_versions.id"], name=op.f("fk_implementations_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_implementations")),
        sa.UniqueConstraint("gateway_service_id", name=op.f("uq_implementations_gateway_service_id")),
        sa.UniqueConstraint("version_id", name=op.f("uq_implementations_version_id")),
    )
    op.create_table(
        "revision_changes",
        sa.Column("number", SERIAL, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("entity_id", ID, nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["number"], ["revisions.number"], name=op.f("fk_revision_changes_number"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", "position", name=op.f("pk_revision_changes")),
    )


def downgrade() -> None:
    """There is nothing before the first release."""
    raise NotImplementedError
