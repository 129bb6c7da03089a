"""Boots can be folded; activity can be asked for by runtime group and route."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the indexes."""
    op.add_column("activity_boots", sa.Column("folded_at", sa.Float(precision=53), nullable=True))
    op.create_index("ix_activity_routes_group_id", "activity_routes", ["group_id"], unique=False)
    op.create_index("ix_activity_totals_route_id", "activity_totals", ["route_id"], unique=False)


def downgrade() -> None:
    """Releases only go forward."""
    raise NotImplementedError
