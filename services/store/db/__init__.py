"""The database itself: connection, tables, leases, rate limits, encrypted secrets. Open database.py first."""
