"""The question that tells whether a child is ready."""

from http.client import OK, HTTPConnection, HTTPException


def responds(address: str, path: str) -> bool:
    """Whether an HTTP server there answers this path with 200 now."""
    connection = HTTPConnection(address, timeout=2.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
