"""Ports for servers that come back."""

import socket

import pytest

from pipeline.stack import ports


def test_ports_are_different_free_and_outside_the_range_of_clients():
    """No port is given twice, each can be listened on, and no outgoing connection can be given one."""
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(ports.LOWEST <= port <= ports.HIGHEST for port in found)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", found[0]))


def test_a_port_in_use_is_not_given(monkeypatch):
    """With its only candidate taken there is nothing to give."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        taken = listener.getsockname()[1]
        monkeypatch.setattr(ports, "LOWEST", taken)
        monkeypatch.setattr(ports, "HIGHEST", taken)
        with pytest.raises(OSError, match="no 1 free ports"):
            ports.free_ports(1)
