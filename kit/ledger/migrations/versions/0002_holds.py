"""The table of holds: every switch that was turned, on or off."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "kit_holds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("switched_on", sa.Boolean, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("gates", sa.Text, nullable=False),
        sa.Column("accepts", sa.Boolean, nullable=False),
        sa.Column("undo", sa.Boolean, nullable=False),
    )
    op.create_index("kit_holds_latest", "kit_holds", ["scope", "name", "id"])


def downgrade() -> None:
    """Drop the table, and with it every hold."""
    op.drop_table("kit_holds")
