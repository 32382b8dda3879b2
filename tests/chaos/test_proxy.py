"""The network of the chaos runs, with nothing behind it but an echo."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import LATENCY, Link, Network, Trouble


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while block := self.request.recv(4096):
            self.request.sendall(block)


@pytest.fixture
def link() -> Iterator[Link]:
    """A way to an echo."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Network() as network:
            yield network.link(f"127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()


def _connect(link: Link, timeout: float = 10.0) -> socket.socket:
    host, port = link.address.split(":")
    return socket.create_connection((host, int(port)), timeout)


def _said(link: socket.socket, words: bytes) -> bytes:
    link.sendall(words)
    return link.recv(100)


def _asked(link: Link, words: bytes) -> bytes:
    with _connect(link) as one:
        return _said(one, words)


def test_what_is_sent_arrives(link: Link) -> None:
    """Without trouble a link is as if it were not there."""
    assert _asked(link, b"hallo") == b"hallo"


def test_a_cut_ends_connections_and_refuses_others_until_it_is_over(link: Link) -> None:
    """Both sides get a reset; afterwards one may connect again."""
    with _connect(link) as one:
        assert _said(one, b"hallo") == b"hallo"
        with link.trouble(Trouble.CUT):
            with pytest.raises(ConnectionError):
                assert one.recv(100)
            with pytest.raises(ConnectionError):
                _asked(link, b"hallo")
        assert _asked(link, b"hallo") == b"hallo"


def test_silence_keeps_connections_and_holds_back_what_is_said(link: Link) -> None:
    """Nothing comes through while it lasts, and nothing is lost by it."""
    with _connect(link, 0.5) as one:
        assert _said(one, b"hallo") == b"hallo"
        with link.trouble(Trouble.SILENT):
            one.sendall(b"is there anybody")
            with pytest.raises(TimeoutError):
                one.recv(100)
        one.settimeout(10.0)
        assert one.recv(100) == b"is there anybody"


def test_a_slow_link_takes_its_time_each_way(link: Link) -> None:
    """There and back is two latencies at least."""
    with _connect(link) as one, link.trouble(Trouble.SLOW):
        began = time.monotonic()
        assert _said(one, b"hallo") == b"hallo"
        assert time.monotonic() - began >= 2 * LATENCY


def test_one_trouble_that_ends_does_not_end_another(link: Link) -> None:
    """Two threads may trouble the same link."""
    with _connect(link, 0.5) as one, link.trouble(Trouble.SILENT):
        with link.trouble(Trouble.SILENT):
            pass
        one.sendall(b"hallo")
        with pytest.raises(TimeoutError):
            one.recv(100)
