"""The table of effects. A released migration never changes; the next one alters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SETTLED = "state IN ('done', 'refused', 'undone', 'void')"
_UNSETTLED = "state IN ('claimed', 'undoing', 'unknown')"


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "kit_effects",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("saga", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_claimed_at", sa.BigInteger, nullable=False),
        sa.Column("unknown_since", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("shared", sa.Text),
    )
    op.create_index("kit_effects_saga", "kit_effects", ["saga"])
    for name, column, where in (
        ("kit_effects_shared", "key", "shared IS NOT NULL"),
        ("kit_effects_unsettled", "updated_at", _UNSETTLED),
        ("kit_effects_expiry", "expires_at", _SETTLED),
    ):
        op.create_index(name, "kit_effects", [column], postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def downgrade() -> None:
    """Drop the table, and with it the knowledge of every effect."""
    op.drop_table("kit_effects")
