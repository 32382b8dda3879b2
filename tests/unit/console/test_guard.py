"""CSRF tokens, signed links, rate limits."""

from __future__ import annotations

from pipeline.console.guard import RateLimit, Signer, csrf_holds, csrf_token


def test_a_token_is_of_one_session_and_one_secret() -> None:
    """Another session's, another console's, and nonsense are refused."""
    token = csrf_token("session", b"secret")
    assert csrf_holds(token, "session", b"secret")
    assert not csrf_holds(token, "other", b"secret")
    assert not csrf_holds(token, "session", b"other")
    assert not csrf_holds("", "session", b"secret")
    assert not csrf_holds("ä", "session", b"secret")


def test_a_link_is_for_one_thing_and_ends() -> None:
    """Whatever is changed about it, it does not hold."""
    signer = Signer(b"secret")
    claims = {"person": "ann", "task": "t1"}
    token = signer.sign(claims, 100.0)
    assert signer.holds(token, claims, 99.0)
    assert not signer.holds(token, claims, 100.0)
    assert not signer.holds(token, {**claims, "task": "t2"}, 99.0)
    assert not signer.holds(token, {**claims, "person": "bob"}, 99.0)
    assert not signer.holds(token.replace("100.", "900."), claims, 99.0)
    assert not Signer(b"other").holds(token, claims, 99.0)
    for nonsense in ("", ".", "100", "100.", "x.y", "9" * 40 + ".a"):
        assert not signer.holds(nonsense, claims, 1.0)


def test_a_rate_limit_fills_up_again() -> None:
    """So many at once, then as fast as it fills; each key by itself; memory is bounded."""
    now = [0.0]
    limit = RateLimit(burst=2, per_second=0.5, clock=lambda: now[0], most_keys=10)
    assert [limit.takes("a") for _ in range(3)] == [True, True, False]
    assert limit.takes("b")
    now[0] = 2.0
    assert [limit.takes("a") for _ in range(2)] == [True, False]
    now[0] = 100.0
    for i in range(50):
        limit.takes(f"k{i}")
        now[0] += 5.0
    assert len(limit._left) <= 11
