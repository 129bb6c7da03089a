"""Links by which a developer sets a new password."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "developer_resets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("developer_id", ID, nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["developer_id"],
            ["developers.id"],
            name=op.f("fk_developer_resets_developer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_developer_resets")),
    )
    op.create_index("ix_developer_resets_developer_id", "developer_resets", ["developer_id"], unique=False)


def downgrade() -> None:
    """Releases only go forward."""
    raise NotImplementedError
