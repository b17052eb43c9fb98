"""A migration that fails, behind Covalent's newest."""

revision = "ffffffffffff"
down_revision = "7e9fb153ecfb"
branch_labels = depends_on = None


def upgrade():
    raise RuntimeError("no room for a column")
