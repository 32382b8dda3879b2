"""Settings → the connection of confluent-kafka's clients (admin, audit, replay, demo). Faust's own lies in `app.py`."""

from __future__ import annotations

from pipeline.errors import ConfigError
from pipeline.settings import Settings

ClientConfig = dict[str, str]
"""librdkafka's configuration properties."""


def client_config(settings: Settings, bootstrap_servers: str | None = None) -> ClientConfig:
    """How to reach the cluster.

    Args:
        settings: where the security settings come from.
        bootstrap_servers: used instead of the settings' own, for a broker that was just started.

    Raises:
        ConfigError: no cluster is named.
    """
    servers = bootstrap_servers or settings.kafka_bootstrap_servers
    if not servers:
        raise ConfigError("no Kafka cluster: set UNMASK_KAFKA_BOOTSTRAP_SERVERS, or start one with `unmask stack up`")
    password = settings.kafka_sasl_password
    wanted = {
        "bootstrap.servers": servers,
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": password.get_secret_value() if password else None,
        "ssl.ca.location": settings.kafka_ssl_cafile,
        "ssl.certificate.location": settings.kafka_ssl_certfile,
        "ssl.key.location": settings.kafka_ssl_keyfile,
    }
    return {name: str(value) for name, value in wanted.items() if value is not None}
