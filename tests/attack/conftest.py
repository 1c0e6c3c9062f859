from tests.web.conftest import ada, ben, site

__all__ = ["ada", "ben", "site"]
