"""The database: tables, migrations, repositories and the audit log."""
