"""Settings from the environment (`UNMASK_…`). Every one is listed by `unmask settings` and in docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A tuple that the environment gives as `a,b,c`."""


class Settings(BaseSettings):
    """One flat list: what a deployment may choose."""

    model_config = SettingsConfigDict(env_prefix="UNMASK_", frozen=True, extra="ignore")

    home: Path = Field(Path(".unmask"), description="Where fetched parts, spool files and the embedded database lie.")
    models_dir: Path = Field(Path("models"), description="The Triton model repository.")
    policy_file: Path | None = Field(None, description="The policy; the default policy that ships when not set.")
    calibration_file: Path | None = Field(
        None, description="What scores are worth, as `unmask calibrate` writes it; the one that ships when not set."
    )
    policy_poll_seconds: float = Field(
        5.0, ge=0, description="How often the policy's files are looked at for changes; 0: only on SIGHUP."
    )
    policy_lead_seconds: float = Field(
        10.0, ge=0, description="How long after a new policy was accepted all workers switch to it; two polls at least."
    )
    detectors_file: Path | None = Field(
        None, description="Which detectors run, live or shadow; the default when unset."
    )

    banks_dir: Path | None = Field(None, description="Folder of banks.yaml: known content; no banks when not set.")

    kafka_bootstrap_servers: str | None = Field(None, description="host:port,… of an existing cluster.")
    kafka_security_protocol: str = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    kafka_sasl_mechanism: str | None = Field(None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")
    kafka_sasl_username: str | None = Field(None, description="User for SASL.")
    kafka_sasl_password: SecretStr | None = Field(None, description="Password for SASL.")
    kafka_ssl_cafile: Path | None = Field(
        None, description="CA certificates (PEM) that sign the brokers' certificates."
    )
    kafka_ssl_certfile: Path | None = Field(None, description="Client certificate (PEM) for mutual TLS.")
    kafka_ssl_keyfile: Path | None = Field(None, description="Client key (PEM) for mutual TLS.")
    kafka_group: str = Field("unmask", description="Consumer group, and the Faust app's id.")
    kafka_idempotence: bool = Field(True, description="Idempotent producer; off for brokers that lack it.")
    kafka_partitions: int = Field(8, ge=1, description="Partitions of topics that are created; bounds the workers.")
    kafka_replication: int | None = Field(None, description="Replication factor; min(3, brokers) when not set.")

    triton_url: str = Field("127.0.0.1:8001", description="gRPC address of the inference server.")
    triton_timeout: float = Field(20.0, gt=0, description="Seconds for one inference request.")
    triton_concurrency: int = Field(4, ge=1, description="Inference requests under way at once per worker.")

    database_url: str | None = Field(None, description="SQLAlchemy URL; an SQLite file in home when not set.")

    request_window_days: int = Field(
        90,
        ge=0,
        le=3650,
        description="How many days before a request copies are looked for by what they look like.",
    )
    request_copies: int = Field(500, ge=0, description="Copies that one request of a person shown re-opens at most.")

    concurrency: int = Field(4, ge=1, description="Uploads screened at once per worker.")
    item_deadline: float = Field(120.0, gt=0, description="Seconds for one item, retries included.")
    drain_seconds: float = Field(25.0, ge=0, description="Seconds that a stopping worker waits for what is under way.")

    fetch_schemes: CommaList = Field(("https", "s3", "gs", "az"), description="URI schemes that may be read.")
    fetch_hosts: CommaList = Field(
        (), description="Hosts that http(s) may read (exact or .suffix; :port unless the scheme's own); empty: none."
    )
    fetch_buckets: CommaList = Field((), description="Buckets that s3, gs and az may read; empty: none.")
    fetch_roots: CommaList = Field((), description="Folders that file: may read; empty: none.")
    fetch_private_addresses: bool = Field(False, description="Allow private, loopback and link-local addresses.")
    fetch_max_bytes: int = Field(4 * 1024**3, ge=1, description="Largest upload, bytes.")
    fetch_max_seconds: float = Field(60.0, gt=0, description="Longest fetch, seconds.")
    s3_endpoint: str | None = Field(None, description="Endpoint of an S3-compatible store.")
    s3_region: str | None = Field(None, description="Region of the S3 store.")
    s3_access_key_id: str | None = Field(None, description="Access key; the usual AWS sources when not set.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret key; the usual AWS sources when not set.")

    trust_anchors: Path | None = Field(
        None, description="Certificates (PEM) that may vouch for Content Credentials; when not set nobody is trusted."
    )
    identity_anchors: Path | None = Field(
        None,
        description="Certificates (PEM) that may vouch for identities in Content Credentials; when not set none is.",
    )
    decode_workers: int = Field(2, ge=1, description="Decoder child processes per worker.")
    decode_frames: int = Field(24, ge=1, description="Keyframes looked at per upload.")
    decode_max_side: int = Field(1280, ge=64, description="Long side, pixels, of the frames that detectors see.")
    decode_audio_seconds: float = Field(120.0, ge=0, description="Seconds of sound listened to per upload.")
    decode_forward_frames: int = Field(
        600, ge=0, description="Frames decoded to look between keyframes that are far apart; 0: keyframes only."
    )
    decode_closer_frames: int = Field(
        150, ge=0, description="Frames of a closer look per video, up to 2.8 MB each; 0: none."
    )
    decode_native_side: int = Field(
        768, ge=0, description="Longest side, pixels, of the unscaled part of a frame, for traces of editing; 0: none."
    )
    decode_cpu_seconds: int = Field(60, ge=1, description="CPU seconds of one decoder child.")
    decode_wall_seconds: float = Field(60.0, gt=0, description="Longest decode, seconds.")
    decode_memory_bytes: int = Field(3 * 1024**3, ge=1, description="Address space of a decoder child.")

    dsa_token: SecretStr | None = Field(None, description="Token of the DSA Transparency Database's API.")
    appeal_url: str | None = Field(None, description="Where uploaders complain about a decision; named in notices.")

    http_host: str = Field("127.0.0.1", description="Where /metrics, /livez and /readyz listen.")
    http_port: int = Field(9464, ge=0, le=65535, description="Port of /metrics, /livez and /readyz; 0: a free one.")
    stall_seconds: float = Field(180.0, gt=0, description="/livez fails when work waits this long without progress.")

    console_host: str = Field("127.0.0.1", description="Where the review console listens.")
    console_port: int = Field(8600, ge=0, le=65535, description="Port of the review console.")
    console_metrics_host: str = Field("127.0.0.1", description="Where the console's /metrics listens.")
    console_metrics_port: int = Field(
        9465, ge=0, le=65535, description="Port of the console's /metrics, not for browsers; 0: none."
    )
    console_url: str = Field(
        "http://127.0.0.1:8600", description="How browsers reach the console; https in production."
    )
    console_secret: SecretStr | None = Field(None, description="Signs links and forms: 32 random characters or more.")
    console_lease_seconds: float = Field(600.0, gt=0, description="A case goes back to its queue after so long.")
    console_grace_seconds: float = Field(30.0, ge=0, description="How long a decision can be taken back.")
    console_relay: bool = Field(
        True, description="Whether the console publishes what people decide; off where `unmask relay` runs."
    )
    console_oidc_issuer: str | None = Field(None, description="OpenID provider; local accounts when not set.")
    console_oidc_client_id: str | None = Field(None, description="The console's id at the provider.")
    console_oidc_client_secret: SecretStr | None = Field(None, description="The console's secret at the provider.")
    console_oidc_scope: str = Field("openid profile email", description="What the provider is asked for.")
    console_roles_claim: str = Field("roles", description="Claim with somebody's roles; `a.b` goes into objects.")
    console_oidc_session_seconds: float = Field(
        3600.0, ge=60, description="After so long the provider is asked again who somebody is and what they may do."
    )
    console_trusted_proxies: CommaList = Field(
        (), description="Addresses or networks of reverse proxies whose X-Forwarded-For is believed; none: nobody's is."
    )
    console_queues_claim: str = Field("queues", description="Claim with somebody's queues; * for every one.")

    otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector (OTLP over HTTP), as http://host:4318; without it OpenTelemetry's own "
        "variables count, and without those nothing is traced.",
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: str = Field("json", description="json or console.")

    @property
    def ledger_url(self) -> str:
        """The database in use."""
        return self.database_url or f"sqlite:///{(self.home / 'ledger.sqlite').absolute()}"
