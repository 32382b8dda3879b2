"""Where fetched parts are kept, and a broker, as the integration tests have them."""

from tests.integration.conftest import embedded_broker, home

__all__ = ["embedded_broker", "home"]
