"""Documents and specs of the catalogue; the developer portal; who signs in by OpenID Connect."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
TIME = sa.Float(precision=53)


def upgrade() -> None:
    """Make the tables."""
    _make_documents()
    _make_people()
    _make_registrations()
    _make_sign_in()


def _make_documents() -> None:
    for name, owner, extra in (
        ("catalogue_documents", ("service_id", "catalogue_services"), ()),
        ("catalogue_specs", ("version_id", "catalogue_versions"), ("title", "dialect")),
    ):
        column, table = owner
        op.create_table(
            name,
            sa.Column(column, ID, nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            *(sa.Column(each, sa.Text(), nullable=False) for each in extra),
            sa.Column("content", sa.Text(), nullable=False),
            *_edited(),
            _owned(name, column, table),
            sa.PrimaryKeyConstraint(column, name=op.f(f"pk_{name}")),
        )


def _make_people() -> None:
    op.create_table(
        "portal_settings",
        sa.Column("name", KEY, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_portal_settings")),
    )
    op.create_table(
        "developers",
        sa.Column("id", ID, nullable=False),
        sa.Column("email", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *_edited(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_developers")),
        sa.UniqueConstraint("email", name=op.f("uq_developers_email")),
    )
    op.create_index("ix_developers_status", "developers", ["status"], unique=False)
    op.create_table(
        "developer_sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("developer_id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=False),
        _owned("developer_sessions", "developer_id", "developers"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_developer_sessions")),
    )
    op.create_index("ix_developer_sessions_developer_id", "developer_sessions", ["developer_id"], unique=False)
    op.create_table(
        "applications",
        sa.Column("id", ID, nullable=False),
        sa.Column("developer_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reference_id", KEY, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        *_edited(),
        _owned("applications", "developer_id", "developers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applications")),
        sa.UniqueConstraint("reference_id", name=op.f("uq_applications_reference_id")),
    )
    op.create_index("ix_applications_developer_id", "applications", ["developer_id"], unique=False)


def _make_registrations() -> None:
    op.create_table(
        "app_registrations",
        sa.Column("implementation_id", ID, nullable=False),
        sa.Column("auth_type", sa.String(32), nullable=False),
        sa.Column("auto_approve", sa.Boolean(), nullable=False),
        *_edited(),
        _owned("app_registrations", "implementation_id", "implementations"),
        sa.PrimaryKeyConstraint("implementation_id", name=op.f("pk_app_registrations")),
    )
    op.create_table(
        "registrations",
        sa.Column("id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *_edited(),
        _owned("registrations", "application_id", "applications"),
        _owned("registrations", "version_id", "catalogue_versions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrations")),
        sa.UniqueConstraint("application_id", "version_id", name=op.f("uq_registrations_application_id_version_id")),
    )
    op.create_index("ix_registrations_version_id", "registrations", ["version_id"], unique=False)
    op.create_index("ix_registrations_status", "registrations", ["status"], unique=False)


def _make_sign_in() -> None:
    op.create_table(
        "user_identities",
        sa.Column("issuer", KEY, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        _owned("user_identities", "user_id", "users"),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_user_identities")),
    )
    op.create_table(
        "sign_in_attempts",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(64), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_in_attempts")),
    )
    op.create_index("ix_sign_in_attempts_created_at", "sign_in_attempts", ["created_at"], unique=False)


def _edited() -> tuple[sa.Column[int], sa.Column[float], sa.Column[float]]:
    return (
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    )


def _owned(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    """Rows that go with the row they belong to."""
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{owner}.id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    """Releases only go forward."""
    raise NotImplementedError
