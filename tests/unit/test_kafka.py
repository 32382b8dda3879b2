"""Settings reach both Kafka clients alike."""

from __future__ import annotations

import asyncio

import faust
import pytest

from pipeline.agents.delivery import Drain
from pipeline.agents.worker import worker_app
from pipeline.errors import ConfigError
from pipeline.kafka import client_config
from pipeline.settings import Settings

SASL = {
    "kafka_bootstrap_servers": "a:9092, b:9092",
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_sasl_username": "unmask",
    "kafka_sasl_password": "secret",
}


@pytest.fixture
def settings(tmp_path):
    asyncio.set_event_loop(asyncio.new_event_loop())
    return lambda **more: Settings(home=tmp_path, **{**SASL, **more})


def test_librdkafka_is_given_the_security_settings(settings):
    """SASL and TLS settings are named as librdkafka names them; what is not set is left to its defaults."""
    config = client_config(settings())
    assert config == {
        "bootstrap.servers": "a:9092, b:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "unmask",
        "sasl.password": "secret",
    }


def test_faust_is_given_the_same(settings):
    """Mechanism, user and password arrive; TLS is on; every server is known."""
    app = worker_app(settings(), Drain())
    credentials = app.conf.broker_credentials
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.username, credentials.password) == ("unmask", "secret")
    assert credentials.mechanism.value == "SCRAM-SHA-512"
    assert credentials.ssl_context is not None
    assert [url.host for url in app.conf.broker] == ["a", "b"]


def test_half_a_login_is_an_error_at_the_start(settings):
    """The operator is told which settings are missing."""
    with pytest.raises(ConfigError, match="UNMASK_KAFKA_SASL_MECHANISM"):
        worker_app(settings(kafka_sasl_password=None), Drain())


def test_an_unknown_protocol_is_an_error(settings):
    """A misspelt protocol is not taken for plain text."""
    with pytest.raises(ConfigError, match="TLS_PLEASE"):
        worker_app(settings(kafka_security_protocol="TLS_PLEASE"), Drain())


def test_no_cluster_is_an_error():
    """Neither client guesses a server."""
    with pytest.raises(ConfigError, match="UNMASK_KAFKA_BOOTSTRAP_SERVERS"):
        client_config(Settings(kafka_bootstrap_servers=None))
