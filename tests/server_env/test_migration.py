"""What is done to a database on a server, and said of it, without one.

With a real one: tests/machines/postgresql.rs.
"""

import sys
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

import sqlalchemy
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from served import LAUNCHER

sys.path.append(str(LAUNCHER))

from covalent_service import migration  # noqa: E402
from covalent_service.postgresql import ProgramFailed, ProgramMissing  # noqa: E402
from covalent_service.refusal import MIGRATION_FAILED, NEEDS_ATTENTION, Refusal  # noqa: E402
from covalent_service.unproven import Unproven  # noqa: E402

ADDRESS = "postgresql+psycopg2://me:s3cret@host/workflows"


def store(revision, address=ADDRESS):
    engine = types.SimpleNamespace(
        url=make_url(address), dialect=postgresql.dialect(), dispose=lambda: None
    )
    return types.SimpleNamespace(
        db_URL=address,
        engine=engine,
        current_revision=lambda: revision,
        current_head=lambda: "new",
        get_alembic_config=mock.Mock(),
    )


class Server(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        home = Path(directory.name)
        self.settings = types.SimpleNamespace(home=home, data_dir=home / "data")
        self.unproven = Unproven(home)
        self.migrate = self.replaced(migration, "_migrate")
        self.put_right = self.replaced(migration.stored_paths, "put_right")

    def replaced(self, owner, name):
        patch = mock.patch.object(owner, name)
        self.addCleanup(patch.stop)
        return patch.start()

    def prepare(self, *given):
        migration.prepare(store(*given), self.settings, self.unproven)

    def refusal(self, *given):
        with self.assertRaises(Refusal) as refused:
            self.prepare(*given)
        self.assertNotIn("s3cret", str(refused.exception))
        return refused.exception

    def test_without_a_copy_it_is_left_untouched_and_unmarked(self):
        program = self.replaced(migration, "PostgreSQL")
        for error, typed in (
            (ProgramMissing("no"), "apt install postgresql-client, or dnf install postgresql"),
            (ProgramFailed("pg_dump ended with status 1"), "covalentctl logs -n 50"),
            (OSError(28, "No space left on device"), "covalentctl logs -n 50"),
        ):
            # Left by an attempt that was cut off before it had changed anything.
            self.unproven.set()
            with self.subTest(error=error):
                program.return_value.save.side_effect = error
                refusal = self.refusal("old")
                self.assertEqual(refusal.exit_code, MIGRATION_FAILED)
                self.assertTrue(str(refusal).lower().endswith(f"type: {typed}"), str(refusal))
                self.assertFalse(self.unproven.is_set())
                self.migrate.assert_not_called()
                self.assertEqual(list(self.settings.home.iterdir()), [])

    def test_the_mark_is_there_before_the_first_change(self):
        self.replaced(migration, "PostgreSQL")
        self.migrate.side_effect = lambda *_: self.assertTrue(self.unproven.is_set())
        self.prepare("old")
        self.migrate.assert_called_once()
        self.put_right.assert_called_once()

    def test_what_was_ended_after_its_first_half_is_completed(self):
        self.prepare("new")
        self.put_right.assert_not_called()
        self.unproven.set()
        self.prepare("new")
        self.put_right.assert_called_once_with(ADDRESS, self.settings.data_dir)
        self.migrate.assert_not_called()
        self.put_right.side_effect = sqlalchemy.exc.OperationalError("", {}, Exception("gone"))
        self.assertEqual(self.refusal("new").exit_code, MIGRATION_FAILED)

    def test_who_may_make_no_tables_is_told_how_to_be_let(self):
        models = mock.MagicMock()
        models.models.Base.metadata.create_all.side_effect = sqlalchemy.exc.ProgrammingError(
            "", {}, Exception("permission denied for schema public")
        )
        modules = {
            "alembic": mock.MagicMock(),
            "covalent_dispatcher": mock.MagicMock(),
            "covalent_dispatcher._db": models,
        }
        with mock.patch.dict(sys.modules, modules):
            refusal = self.refusal(None)
        self.assertEqual(refusal.exit_code, NEEDS_ATTENTION)
        self.assertIn("permission denied for schema public", str(refusal))
        self.assertTrue(str(refusal).endswith('ALTER DATABASE "workflows" OWNER TO "me";'))

    def test_of_another_kind_it_is_left_to_its_administrator(self):
        """test_service.py runs what is advised."""
        refusal = self.refusal("old", "mysql://me:s3cret@host/workflows")
        self.assertEqual(refusal.exit_code, NEEDS_ATTENTION)
        self.assertIn(f"type: {migration.MIGRATE} and", str(refusal))
        self.migrate.assert_not_called()


if __name__ == "__main__":
    unittest.main()
