"""The database: SQL only, with typed records at its edge. Open db/tables.py first."""
