"""Questions about the whole database: due work, audit, retention, the dashboard's figures, migrations. Open due_work.py
first.
"""
