"""What became of a mail for each recipient.

Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed, optional
from shared.adapters.database.types import key_text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        *needed(mail_id=sa.Integer(), role=key_text(10), recipient=key_text(320), state=sa.Unicode(10)),
        *optional(reason=sa.Unicode(1000)),
        sa.ForeignKeyConstraint(["mail_id"], ["mails.id"], name=op.f("fk_deliveries_mail_id")),
        sa.PrimaryKeyConstraint("mail_id", "role", "recipient", name=op.f("pk_deliveries")),
    )


def downgrade() -> None:
    op.drop_table("deliveries")
