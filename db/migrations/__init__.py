"""The history of the schema, shipped with the package and run by `db.migrate`."""
