"""Lengths of time and moments as people write them: `30m`, `12h`, `7d`; a time that names no zone is UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}[mhd]$(?!\n)", description="30m, 4h or 2d")]
"""In a file."""

_LENGTH = re.compile(r"[1-9][0-9]{0,3}[mhd]")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def is_length(text: str) -> bool:
    """Whether somebody means a length: on a command line, where a digit more than in a file is understood."""
    return _LENGTH.fullmatch(text) is not None


def length(text: str) -> timedelta:
    """`4h` → four hours. `text` has to be one."""
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def utc(value: datetime | None) -> datetime | None:
    """A time from the command line, as UTC when it names no zone."""
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def age(since: datetime | None, now: datetime) -> float:
    """Seconds from then until now; 0 where nothing began, or a clock is behind."""
    return max(0.0, (now - since).total_seconds()) if since else 0.0
