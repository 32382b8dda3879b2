"""Ports for servers that must come back on the same port after they were killed."""

import random
import socket

# Below Linux' range for outgoing connections (32768–60999): a client that reconnects while its server is down could
# otherwise be given the server's own port, and the restarted server would find it taken.
LOWEST, HIGHEST = 20_000, 32_767


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports on 127.0.0.1 that nobody listens on now.

    Raises OSError when the range holds too few.
    """
    found: list[int] = []
    candidates = list(range(LOWEST, HIGHEST + 1))
    random.SystemRandom().shuffle(candidates)
    for port in candidates:
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} free ports between {LOWEST} and {HIGHEST}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
