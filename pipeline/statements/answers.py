"""What an endpoint answered → what was sent and what was refused. Pure.

The DSA Transparency Database creates all statements of a call or none. It answers 201 with the created statements; 422
with `errors.statement_<n>` for those that it does not take, by their place in the call; and 422 with
`errors.existing_puids` for those that it has already. Other endpoints say less: a call that is refused without saying
why is halved until each statement has an answer of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.errors import ConfigError

ALREADY: Final = "was there already"
"""The receipt of a statement that the endpoint refused because it has it: an earlier call was not marked."""

ACCEPTED: Final = "accepted"
"""The receipt where the endpoint gives none."""

AGAIN: Final = frozenset({408, 425, 429})
"""And everything from 500 on: try later."""

_PLACE = re.compile(r"statement_(\d+)")
_LONGEST_WHY = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one call. `sent`: puid → receipt. `refused`: puid → why. `silent`: the call was accepted, but these were not
    among what was created. `again`: what was neither is to be sent again without the rest, `halve`: in two calls."""

    sent: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    halve: bool = False


def try_later(status: int) -> bool:
    """The endpoint may take the same call later."""
    return status in AGAIN or status >= 500


def read(status: int, body: bytes, puids: Sequence[str]) -> Verdict:
    """What an answer says of the statements that were sent, in the order in which they were.

    Raises:
        ConfigError: the endpoint or the token is wrong; nothing was sent, and nothing will be.
    """
    if status in (401, 403):
        raise ConfigError(f"the endpoint refuses the token ({status}): see UNMASK_DSA_TOKEN")
    if status < 200 or 300 <= status < 400 or status in (404, 405, 410):
        raise ConfigError(f"the endpoint takes no statements ({status}): its address ends in /statements")
    answer = _json(body)
    if status < 300:
        return _created(answer, puids)
    errors = answer.get("errors")
    errors = errors if isinstance(errors, dict) else {}
    there = _strings(errors.get("existing_puids"))
    if have := [puid for puid in puids if puid in there]:
        return Verdict(sent=dict.fromkeys(have, ALREADY), again=_without(puids, have))
    if wrong := _by_place(errors, puids):
        return Verdict(refused=wrong, again=_without(puids, wrong))
    if len(puids) > 1:
        return Verdict(halve=True)
    if status == 409 or "existing" in answer:
        return Verdict(sent={puids[0]: ALREADY})
    return Verdict(refused={puids[0]: _why(errors or answer.get("message") or f"the endpoint answered {status}")})


def _created(answer: Mapping[str, Any], puids: Sequence[str]) -> Verdict:
    listed = answer.get("statements")
    made = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    receipts = {
        str(each["puid"]): str(each.get("uuid") or each.get("id") or ACCEPTED) for each in made if "puid" in each
    }
    if not receipts:
        return Verdict(sent=dict.fromkeys(puids, ACCEPTED))
    return Verdict(sent={puid: receipts[puid] for puid in puids if puid in receipts}, silent=_without(puids, receipts))


def _by_place(errors: Mapping[str, Any], puids: Sequence[str]) -> dict[str, str]:
    found = {}
    for key, why in errors.items():
        place = _PLACE.fullmatch(key)
        if place and int(place[1]) < len(puids):
            found[puids[int(place[1])]] = _why(why)
    return found


def _why(errors: object) -> str:
    return (errors if isinstance(errors, str) else json.dumps(errors, ensure_ascii=False))[:_LONGEST_WHY]


def _without(puids: Sequence[str], those: Mapping[str, str] | Sequence[str]) -> tuple[str, ...]:
    return tuple(puid for puid in puids if puid not in those)


def _strings(value: object) -> frozenset[str]:
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset(entry for entry in entries if isinstance(entry, str))


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
