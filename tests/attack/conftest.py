from tests.flow.conftest import configure, slack, smtp, world
from tests.web.conftest import ada, ben, site

__all__ = ["ada", "ben", "configure", "site", "slack", "smtp", "world"]
