"""The embedded PostgreSQL and Valkey, and the processes of `paperwire up`.

Open servers.py first: it starts, shares and stops the two servers. `supervisor.py` runs the processes of `up`.
"""

from services.local.backup import backup, restore
from services.local.process import die_with_parent
from services.local.run_file import RunFile
from services.local.secret import secret_key
from services.local.servers import database, role_environment, running, servers, url_of_role
from services.local.supervisor import Child, Supervisor
from services.local.valkey import redis_url

__all__ = [
    "Child",
    "RunFile",
    "Supervisor",
    "backup",
    "database",
    "die_with_parent",
    "redis_url",
    "restore",
    "role_environment",
    "running",
    "secret_key",
    "servers",
    "url_of_role",
]
