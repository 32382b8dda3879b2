"""Where fetched parts are kept, as the integration tests have it."""

from tests.integration.conftest import home

__all__ = ["home"]
