"""Which URIs and addresses may be read."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from pipeline.errors import ConfigError, Permanent, Reason, Stage
from pipeline.fetch.guard import Rules, check_address, check_path, check_uri, shown

RULES = Rules.of(
    schemes=["https", "http", "s3", "gs", "az", "file"],
    hosts=[
        "media.example.com",
        ".cdn.example.net",
        "upload.example.com:8443",
        "bücher.example",
        "8.8.8.8",
        "[2600::1]",
    ],
    buckets=["uploads"],
    roots=[Path("/srv/media")],
)
EVERYWHERE = Rules.of(
    schemes=["http"], hosts=["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"]
)


def refused(uri: str, rules: Rules = RULES) -> str:
    """Why `uri` may not be read."""
    with pytest.raises(Permanent) as caught:
        check_uri(uri, rules)
    assert (caught.value.stage, caught.value.reason) == (Stage.FETCH, Reason.SOURCE_FORBIDDEN)
    return caught.value.detail


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("https://media.example.com/a.jpg?sig=x%2Fy#frag", "https://media.example.com:443/a.jpg?sig=x%2Fy"),
        ("HTTPS://MEDIA.Example.COM./a", "https://media.example.com:443/a"),
        ("http://media.example.com", "http://media.example.com:80/"),
        ("http://media.example.com?q", "http://media.example.com:80/?q"),
        ("https://media.example.com:443/", "https://media.example.com:443/"),
        ("https://media.example.com:/", "https://media.example.com:443/"),
        ("https://cdn.example.net/", "https://cdn.example.net:443/"),
        ("https://a.b.cdn.example.net/", "https://a.b.cdn.example.net:443/"),
        ("https://upload.example.com:8443/x", "https://upload.example.com:8443/x"),
        ("https://BÜCHER.example/é", "https://xn--bcher-kva.example:443/%C3%A9"),
        ("https://bücher。example/", "https://xn--bcher-kva.example:443/"),
        ("https://8.8.8.8/", "https://8.8.8.8:443/"),
        ("https://[2600:0:0::1]/", "https://[2600::1]:443/"),
        ("https://media.example.com/a%0d%0aHost:%20b", "https://media.example.com:443/a%0d%0aHost:%20b"),
    ],
)
def test_web_urls_come_out_in_one_normal_form(uri: str, url: str) -> None:
    """Case, trailing dots, international names and default ports end in the one URL that is asked for."""
    parsed = check_uri(uri, RULES)
    assert parsed.url == url
    assert URL(parsed.url, encoded=True).raw_host == parsed.host


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("https://user:secret@media.example.com/", "user name"),
        ("https://media.example.com@evil.example/", "user name"),
        ("https://media.example.com%40evil.example/", "valid name"),
        ("https://evil.example/", "not among"),
        ("https://evil.example#@media.example.com/", "not among"),
        ("https://evil.example?@media.example.com/", "not among"),
        ("https://evil.example\\@media.example.com/", "backslash"),
        ("https://media.example.com.evil.example/", "not among"),
        ("https://xmedia.example.com/", "not among"),
        ("https://evilcdn.example.net/", "not among"),
        ("https://sub.media.example.com/", "not among"),
        ("https://media.example.com:8080/", "port 8080"),
        ("https://upload.example.com/", "port 443"),
        ("https://media.example.com:80/", "port 80"),
        ("http://media.example.com:443/", "port 443"),
        ("https://media.example.com:0/", "port"),
        ("https://media.example.com:65536/", "port"),
        ("https://media.example.com:٤٤٣/", "port"),
        ("https://media.example.com:44 3/", "space"),
        ("https://media.example.com../", "valid name"),
        ("https:///path", "valid name"),
        ("https://", "valid name"),
        ("https:media.example.com/", "scheme://"),
        ("//media.example.com/", "scheme://"),
        ("", "scheme://"),
        (" https://media.example.com/", "scheme://"),
        ("https://media.example.com/a b", "space"),
        ("https://media.example.com/a\r\nHost: evil", "control"),
        ("ht\ntps://media.example.com/", "control"),
        ("https://media.example.com/\ud800", "control"),
        ("ftp://media.example.com/", "ftp: is not among"),
        ("javascript://media.example.com/", "not among"),
        ("https://[2600::1%25eth0]/", "zone"),
        ("https://[2600::1/", "malformed"),
        ("https://[2600::1]x/", "malformed"),
        ("https://[2600::zz]/", "malformed"),
        ("https://[8.8.8.8]/", "malformed"),
        ("https://2600::1/", "four decimal"),
        ("https://0x08080808/", "four decimal"),
        ("https://134744072/", "four decimal"),
        ("https://010.8.8.8/", "four decimal"),
        ("https://8.8.2056/", "four decimal"),
        ("https://８.８.８.８.8/", "four decimal"),
        ("https://xn--a.cdn.example.net/", "international"),
        ("https://xn--zzzzzz9999999.cdn.example.net/", "international"),
        ("https://xn--9ca.example/", "not among"),
        ("https://bü\u200bcher.exam ple/", "space"),
    ],
)
def test_web_urls_that_are_refused(uri: str, why: str) -> None:
    """Anything unlisted, ambiguous or smuggled is refused, and the sentence says why."""
    assert why in refused(uri)


def test_the_reason_never_repeats_a_password() -> None:
    """Details end in logs and dead letters."""
    assert "secret" not in refused("https://user:secret@media.example.com/")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_listed_host_does_not_excuse_its_address(host: str) -> None:
    """An address that is allowed as a host is still judged as an address."""
    assert "is " in refused(f"http://{host}/", EVERYWHERE)


@given(ip=st.sampled_from(["127.0.0.1", "10.0.0.1", "169.254.169.254"]), form=st.integers(0, 7))
def test_other_spellings_of_an_address_are_refused(ip: str, form: int) -> None:
    """Decimal, hexadecimal, octal, short and embedded spellings lead nowhere."""
    number = int(ipaddress.IPv4Address(ip))
    a, b, c, d = ipaddress.IPv4Address(ip).packed
    spelled = [
        str(number),
        hex(number),
        f"0{number:o}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"{a}.{(b << 16) | (c << 8) | d}",
        f"[64:ff9b::{ip}]",
        f"[2002:{(a << 8) | b:x}:{(c << 8) | d:x}::1]",
    ][form]
    refused(f"http://{spelled}/", EVERYWHERE)


@given(
    st.one_of(
        st.text(alphabet="0123456789abcdefx.ABCDEFX", min_size=1, max_size=20),
        st.ip_addresses(v=4).map(str),
        st.integers(0, 2**32 - 1).map(str),
    )
)
@example("127.1")
@example("0x7f.1")
@example("017700000001")
@example("0")
def test_no_host_is_an_address_in_disguise(host: str) -> None:
    """What the C library would read as an IPv4 address passes only in its canonical spelling."""
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return
    canonical = socket.inet_ntoa(packed)
    rules = Rules.of(schemes=["http"], hosts=[canonical], private_addresses=True)
    try:
        parsed = check_uri(f"http://{host}/", rules)
    except Permanent:
        return
    assert host == parsed.host == canonical


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1", "::ffff:10.1.2.3", "64:ff9b::a00:1",
        "169.254.1.1", "fe80::1", "fe80::1%eth0", "100.64.0.1", "100.127.255.255",
    ],
)  # fmt: skip
def test_private_addresses_need_the_settings_leave(address: str) -> None:
    """Loopback, private, link-local and carrier-grade NAT pass only when the settings say so."""
    with pytest.raises(Permanent, match="not allowed by the settings"):
        check_address(address, Rules.of(schemes=[]))
    check_address(address, Rules.of(schemes=[], private_addresses=True))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fd00:ec2::254%1",
        "100.100.100.200", "168.63.129.16", "169.254.170.2", "192.0.0.192",
        "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1",
        "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1", "3fff::1", "100::1",
        "2002:7f00:1::1", "2002:808:808::1", "2001::1", "::127.0.0.1", "64:ff9b:1::1", "5f00::1", "1::1",
        "not an address", "", "127.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("private", [False, True])
def test_some_addresses_are_never_a_source(address: str, private: bool) -> None:
    """Metadata services, multicast, unspecified, reserved and tunnelled addresses pass under no settings."""
    with pytest.raises(Permanent):
        check_address(address, Rules.of(schemes=[], private_addresses=private))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_only_global_addresses_pass(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """The standard library agrees that whatever passes is a global unicast address."""
    try:
        passed = check_address(address, Rules.of(schemes=[]))
    except Permanent:
        return
    assert passed.is_global
    assert not passed.is_multicast


@given(st.ip_addresses(v=4), st.booleans())
def test_an_embedded_address_is_judged_as_itself(address: ipaddress.IPv4Address, private: bool) -> None:
    """Mapped and NAT64 forms pass exactly when the IPv4 address does."""
    rules = Rules.of(schemes=[], private_addresses=private)

    def passes(text: str) -> bool:
        try:
            check_address(text, rules)
        except Permanent:
            return False
        return True

    assert passes(f"::ffff:{address}") == passes(str(address)) == passes(f"64:ff9b::{address}")


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("s3://uploads/2024/a.jpg", "2024/a.jpg"),
        ("S3://uploads/a", "a"),
        ("gs://uploads/a b%20c?d#e.jpg", "a b%20c?d#e.jpg"),
        ("az://uploads/ä/ö", "ä/ö"),
        ("s3://uploads/..a/b..", "..a/b.."),
    ],
)
def test_keys_are_taken_verbatim(uri: str, key: str) -> None:
    """A key is what follows the bucket, as the stores' own tools write it."""
    parsed = check_uri(uri, RULES)
    assert (parsed.host, parsed.path) == ("uploads", key)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/a", "s3://UPLOADS/a", "s3://uploads.evil/a", "s3://key:secret@uploads/a", "s3://uploads:80/a",
        "s3://uploads", "s3://uploads/", "s3://uploads//a", "s3://uploads/a//b", "s3://uploads/../other/a",
        "s3://uploads/a/./b", "s3://uploads/a/", "s3:///a", "s3://uploads/a\x00b", "s3://uploads%2f/a",
    ],
)  # fmt: skip
def test_objects_that_are_refused(uri: str) -> None:
    """Only listed buckets, and keys that name one object."""
    refused(uri)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///srv/media/a.jpg", "/srv/media/a.jpg"),
        ("file://localhost/srv/media/a.jpg", "/srv/media/a.jpg"),
        ("file:///srv/media/a%20b%3F%23.jpg", "/srv/media/a b?#.jpg"),
        ("file:///srv/media/a b", "/srv/media/a b"),
        ("file:///srv/media/%C3%A9", "/srv/media/é"),
        ("file:///srv/media/%252e%252e/a", "/srv/media/%2e%2e/a"),
    ],
)
def test_file_uris_are_decoded_once(uri: str, path: str) -> None:
    """What is escaped twice stays escaped once."""
    assert check_uri(uri, RULES).path == path


@pytest.mark.parametrize(
    "uri",
    [
        "file:///srv/media/../../etc/passwd", "file:///srv/media/%2e%2e/%2E%2E/etc/passwd", "file:///srv/media/..%2f..",
        "file://evil.example/srv/media/a", "file://srv/media/a", "file:srv/media", "file:/srv/media/a", "file://",
        "file:///srv/media/a%00.jpg", "file:///srv/media/a%0d%0a", "file:///srv/media/%ff", "file:///srv/media/a?b",
        "file:///srv/media/a#b",
    ],
)  # fmt: skip
def test_files_that_are_refused(uri: str) -> None:
    """Traversal, other hosts, NUL and line breaks, plain or escaped."""
    refused(uri)


def test_without_roots_no_file_is_read() -> None:
    """An empty list of folders allows none."""
    assert "no folder" in refused("file:///etc/passwd", Rules.of(schemes=["file"]))


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/srv/media/a", True),
        ("/srv/media/a/b", True),
        ("/srv/media", False),
        ("/srv/media2/a", False),
        ("/srv", False),
        ("/etc/passwd", False),
    ],
)
def test_paths_have_to_lie_below_a_root(path: str, inside: bool) -> None:
    """Below means below, not beside with a common beginning."""
    if inside:
        assert check_path(Path(path), RULES) == Path("/srv/media")
    else:
        with pytest.raises(Permanent, match="outside"):
            check_path(Path(path), RULES)


@given(
    st.one_of(
        st.text(max_size=80),
        st.builds(
            lambda scheme, rest: f"{scheme}://{rest}",
            st.sampled_from(["http", "https", "s3", "file"]),
            st.text(alphabet=st.sampled_from("media.example.com:@/\\?#%[]0127xX \t。é\u200d"), max_size=40),
        ),
        st.builds(
            lambda a, b, c: f"https://{a}media.example.com{b}{c}",
            st.sampled_from(["", "a@", ".", "x.", "%", "\\", "xn--"]),
            st.sampled_from(
                ["", ".", ":443", ":44３", "@evil.example", ":443@evil.example", "\\@evil.example", "#@evil"]
            ),
            st.text(max_size=10).map(lambda text: "/" + text),
        ),
    )
)
def test_any_text_is_refused_or_leads_to_a_listed_place(uri: str) -> None:
    """No text makes the guard crash, and what passes is read alike by the client's own parser."""
    try:
        parsed = check_uri(uri, RULES)
    except Permanent:
        return
    if parsed.scheme in ("http", "https"):
        assert any(
            rule.allows(parsed.host, parsed.port or 0, 443 if parsed.scheme == "https" else 80) for rule in RULES.hosts
        )
        assert parsed.url.isascii()
        url = URL(parsed.url, encoded=True)
        assert url.host is not None
        assert (url.scheme, url.raw_host, url.port, url.raw_path_qs) == (
            parsed.scheme,
            parsed.host,
            parsed.port,
            parsed.path,
        )
        assert check_uri(parsed.url, RULES) == parsed
    elif parsed.scheme == "file":
        assert parsed.path.startswith("/")
        assert ".." not in Path(parsed.path).parts
    else:
        assert parsed.host == "uploads"


@pytest.mark.parametrize(
    "entry", ["", ".", "a b", "user@host", "127.1", ".127.0.0.1", "host:99999", "[::1", "https://a"]
)
def test_a_host_entry_that_cannot_match_is_a_mistake(entry: str) -> None:
    """The operator hears of it at start, not by missing uploads."""
    with pytest.raises(ConfigError, match="fetch_hosts"):
        Rules.of(schemes=["https"], hosts=[entry])


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("https://u:p@h.example/a/b?X-Amz-Signature=s#f", "https://h.example/a/b"),
        ("https://h.example?token=s", "https://h.example"),
        ("s3://bucket/a?b", "s3://bucket/a?b"),
        ("x\ny", "x\ufffdy"),
        ("s3://b/" + "k" * 500, "s3://b/" + "k" * 192 + "…"),
    ],
)
def test_what_people_see_of_a_uri(uri: str, text: str) -> None:
    """Credentials, signatures and control characters are left out."""
    assert shown(uri) == text
