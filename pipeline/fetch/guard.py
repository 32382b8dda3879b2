"""Which URIs may be read, and which addresses may be connected to. Pure.

An event's URI is written by strangers, so it is parsed here once, strictly, and only the parsed parts are used from
then on: what was checked is what is asked for. A URI that could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import idna

from pipeline.errors import ConfigError, Permanent, Reason, Stage

Address = IPv4Address | IPv6Address

WEB_PORTS = {"http": 80, "https": 443}
OBJECT_SCHEMES = frozenset({"s3", "gs", "az"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LIKE_A_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

# Metadata services hand out a machine's own credentials. They are never a source of media, whatever the settings say.
_METADATA = frozenset(
    map(
        ip_address,
        [
            "169.254.169.254",  # AWS, GCP, Azure, OpenStack and most others
            "169.254.170.2",  # AWS ECS task credentials
            "169.254.170.23",  # AWS EKS pod identity
            "fd00:ec2::254",  # AWS over IPv6
            "fd00:ec2::23",
            "fd20:ce::254",  # GCP over IPv6
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure's host, a public address
            "192.0.0.192",  # Oracle
        ],
    )
)

# Allowed by `private_addresses` only.
_PRIVATE = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "carrier-grade NAT": ("100.64.0.0/10",),
}
# Never a source of media (IANA special-purpose registries).
_NEVER = {
    "unspecified": ("0.0.0.0/8",),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "reserved": ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4", "2001::/23", "100::/64"),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "a tunnel's": ("2002::/16",),  # 6to4; Teredo lies in 2001::/23
}


def _networks(table: dict[str, tuple[str, ...]]) -> tuple[tuple[str, IPv4Network | IPv6Network], ...]:
    return tuple(
        (name, IPv6Network(text) if ":" in text else IPv4Network(text))
        for name, texts in table.items()
        for text in texts
    )


_PRIVATE_NETWORKS = _networks(_PRIVATE)
_NEVER_NETWORKS = _networks(_NEVER)
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class HostRule:
    """A host that may be read, or with `suffix` also every name below it; `port` None is the scheme's own port."""

    name: str
    suffix: bool = False
    port: int | None = None

    def allows(self, host: str, port: int, default_port: int) -> bool:
        """Whether `host` (normal form) may be asked on `port`."""
        named = host == self.name or (self.suffix and host.endswith("." + self.name))
        return named and port == (self.port or default_port)


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be read. Nothing is allowed that is not listed; `Rules.of` builds one from plain strings."""

    schemes: frozenset[str]
    hosts: tuple[HostRule, ...] = ()
    buckets: frozenset[str] = frozenset()
    roots: tuple[Path, ...] = ()
    private_addresses: bool = False

    @classmethod
    def of(
        cls,
        *,
        schemes: Iterable[str],
        hosts: Iterable[str] = (),
        buckets: Iterable[str] = (),
        roots: Iterable[Path] = (),
        private_addresses: bool = False,
    ) -> Rules:
        """`hosts` as `name`, `.suffix` (the name and all below it), either with `:port`; `roots` absolute, resolved.

        Raises ConfigError for an entry that can never match.
        """
        return cls(
            schemes=frozenset(scheme.lower() for scheme in schemes),
            hosts=tuple(map(_host_rule, hosts)),
            buckets=frozenset(buckets),
            roots=tuple(roots),
            private_addresses=private_addresses,
        )


@dataclass(frozen=True, slots=True)
class ParsedUri:
    """A URI that passed, in parts.

    http(s): `host` in normal form, `port` always set, `path` the request target (with the query), percent-encoded.
    s3, gs, az: `host` the bucket, `path` the key, verbatim as the stores' own tools write it (not percent-encoded).
    file: `host` empty, `path` absolute and decoded.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def url(self) -> str:
        """The http(s) URL to ask for, without anything that two parsers could read differently."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def check_uri(uri: str, rules: Rules) -> ParsedUri:
    """The parts of `uri`, if it may be read; Permanent(SOURCE_FORBIDDEN) that says why otherwise.

    For names (rather than addresses) every address that the name resolves to has to pass `check_address`, for files the
    resolved path has to pass `check_path`.
    """
    if _CONTROL.search(uri):
        raise _forbidden("the URI contains control characters")
    match = _SCHEME.match(uri)
    if match is None:
        raise _forbidden("the URI does not begin with scheme://")
    scheme, rest = match[1].lower(), uri[match.end() :]
    if scheme not in rules.schemes:
        raise _forbidden(f"{scheme}: is not among the schemes that may be read")
    if scheme in WEB_PORTS:
        return _web(scheme, rest, rules)
    if scheme in OBJECT_SCHEMES:
        return _object(scheme, rest, rules)
    if scheme == "file":
        return _file(rest, rules)
    raise _forbidden(f"{scheme}: cannot be read")


def check_address(address: str | Address, rules: Rules) -> Address:
    """The address, if it may be connected to; Permanent(SOURCE_FORBIDDEN) otherwise.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as what it leads to.
    """
    try:
        ip = ip_address(address) if isinstance(address, str) else address
    except ValueError:
        raise _forbidden("the host has no readable address") from None
    if isinstance(ip, IPv6Address):
        ip = IPv6Address(int(ip))  # without a zone
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _METADATA:
        raise _forbidden(f"{ip} is a metadata service")
    for name, network in _NEVER_NETWORKS:
        if ip in network:
            raise _forbidden(f"{ip} is {name}: never a source")
    for name, network in _PRIVATE_NETWORKS:
        if ip in network:
            if rules.private_addresses:
                return ip
            raise _forbidden(f"{ip} is {name}: not allowed by the settings")
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_V6:
        raise _forbidden(f"{ip} is not a global address")
    return ip


def check_path(path: Path, rules: Rules) -> Path:
    """The root that holds `path` (absolute, symbolic links resolved); Permanent(SOURCE_FORBIDDEN) if none does."""
    for root in rules.roots:
        if root in path.parents:
            return root
    raise _forbidden("the file lies outside the folders that may be read")


def shown(uri: str) -> str:
    """`uri` for people and logs: without credentials, query or fragment, which may be secrets, and not too long."""
    scheme, colon, rest = uri.partition("://")
    if scheme.lower() in WEB_PORTS:
        authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        rest = authority.rpartition("@")[2] + slash + path
    text = _CONTROL.sub("\ufffd", scheme + colon + rest)
    return text if len(text) <= 200 else text[:199] + "…"


def _forbidden(why: str) -> Permanent:
    return Permanent(Stage.FETCH, Reason.SOURCE_FORBIDDEN, why)


def _web(scheme: str, rest: str, rules: Rules) -> ParsedUri:
    if "\\" in rest or any(character.isspace() for character in rest):
        raise _forbidden("the URL contains a backslash or a space")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    target = rest[len(authority) :].partition("#")[0]
    if "@" in authority:
        raise _forbidden("the URL carries a user name")
    host, port = _host_and_port(authority)
    if not target.startswith("/"):
        target = "/" + target
    default_port = WEB_PORTS[scheme]
    port = port or default_port
    if not any(rule.allows(host, port, default_port) for rule in rules.hosts):
        raise _forbidden(f"host {host} (port {port}) is not among those that may be read")
    if _is_address(host):
        check_address(host, rules)
    return ParsedUri(scheme, host, port, quote(target, safe=_PRINTABLE))


def _object(scheme: str, rest: str, rules: Rules) -> ParsedUri:
    bucket, _, key = rest.partition("/")
    if bucket not in rules.buckets:
        raise _forbidden("the bucket is not among those that may be read")
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise _forbidden("the key is empty or has an empty, . or .. segment")
    return ParsedUri(scheme, bucket, None, key)


def _file(rest: str, rules: Rules) -> ParsedUri:
    if not rules.roots:
        raise _forbidden("no folder may be read")
    host, slash, path = rest.partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise _forbidden("file: names another host, or no absolute path")
    if "?" in path or "#" in path:
        raise _forbidden("a ? or # in a file: URI must be percent-encoded")
    try:
        decoded = "/" + unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise _forbidden("the path is not UTF-8") from None
    if _CONTROL.search(decoded):
        raise _forbidden("the path contains control characters")
    if ".." in decoded.split("/"):
        raise _forbidden("the path has a .. segment")
    return ParsedUri("file", "", None, decoded)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    """Host in normal form (lower case, ASCII, no trailing dot; addresses in their one canonical spelling) and port."""
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")) or "%" in literal:
            raise _forbidden("the IPv6 address is malformed or has a zone")
        try:
            return str(IPv6Address(literal)), _port(tail[1:])
        except ValueError:
            raise _forbidden("the IPv6 address is malformed") from None
    name, _, port = authority.partition(":")
    return _name(name), _port(port)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise _forbidden("the port is not a number between 1 and 65535")
    return int(text)


def _name(text: str) -> str:
    try:
        name = (text if text.isascii() else idna.encode(text, uts46=True).decode()).lower().removesuffix(".")
        if "xn--" in name:
            name.encode().decode("idna")  # clients decode it for display, and choke on what cannot be
    except UnicodeError:
        raise _forbidden("the host is not a valid international name") from None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _forbidden("the host is not a valid name")
    if _LIKE_A_NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise _forbidden("an IPv4 address is written as four decimal numbers") from None
    return name


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


def _host_rule(entry: str) -> HostRule:
    suffix = entry.startswith(".")
    try:
        name, port = _host_and_port(entry.removeprefix("."))
    except Permanent as trouble:
        raise ConfigError(f"fetch_hosts: {entry!r} cannot match any host: {trouble.detail}") from None
    if suffix and _is_address(name):
        raise ConfigError(f"fetch_hosts: {entry!r}: an address has no subdomains")
    return HostRule(name, suffix, port)
