"""What a file says of itself in words, cut to a bounded size. Pure.

Names carry where they stood: `container:encoder`, `video:handler_name`, `png:parameters`, `exif:Software`,
`xmp:DigitalSourceType`, `xmp:packet`, `jpeg:comment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MAX_ENTRIES = 64
MAX_NAME = 80
MAX_VALUE = 2000

Entries = tuple[tuple[str, str], ...]

_XMP_PROPERTY = re.compile(
    r"(DigitalSourceType|CreatorTool|Credit|AISystemUsed|AIPromptInformation)"
    r"(?:\s*=\s*[\"']([^\"']{1,400})|\s+rdf:resource\s*=\s*[\"']([^\"']{1,400})|\s*>\s*(?:<[^>]{1,200}>\s*)*([^<]{1,400}))"
)


def bounded(entries: Iterable[tuple[str, object]]) -> Entries:
    """The first entries, as printable text, each cut; empty ones are left out."""
    kept: list[tuple[str, str]] = []
    for name, value in entries:
        if len(kept) == MAX_ENTRIES:
            break
        text = printable(value)
        if text:
            kept.append((printable(name)[:MAX_NAME], text))
    return tuple(kept)


def printable(value: object) -> str:
    """Valid Unicode without control characters (tabs and line ends stay), at most `MAX_VALUE` characters."""
    if isinstance(value, bytes):
        value = value[: 4 * MAX_VALUE].decode("utf-8", "replace")
    text = str(value)[: 2 * MAX_VALUE].encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in text if c.isprintable() or c in "\t\n").strip()[:MAX_VALUE]


def prefixed(prefix: str, values: Mapping[str, str]) -> list[tuple[str, object]]:
    """A mapping's entries with where they stood."""
    return [(f"{prefix}:{name}", value) for name, value in values.items()]


def from_xmp(packet: bytes | str) -> list[tuple[str, object]]:
    """What an XMP packet says of how the picture was made, and the packet itself, cut.

    Read by pattern, not by an XML parser: the packet is hostile input and a parser has entities to expand.
    """
    text = (packet[:65_536].decode("utf-8", "replace") if isinstance(packet, bytes) else packet[:65_536]).strip("\0 \n")
    found = [
        (f"xmp:{match[1]}", (match[2] or match[3] or match[4] or "").strip()) for match in _XMP_PROPERTY.finditer(text)
    ]
    return [*dict.fromkeys(found), ("xmp:packet", text)]
