"""Move a refitted head through the detectors file: into shadow, live, and back. Pure, on the file's text.

`face_forgery` and `refitted_faces` stand beside each other; one is live, the other shadow. Nothing is rebuilt and no
model is loaded: the way back is the same step in the other direction.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from pipeline.detect.face_forgery import FaceForgery
from pipeline.detect.refitted_faces import RefittedFaces, read_refitted
from pipeline.detect.registry import parse
from pipeline.errors import ConfigError


class Step(StrEnum):
    """Where a head goes. `back`: the shipped head live again, the refitted one in shadow; out, if it fits no more."""

    SHADOW = "shadow"
    LIVE = "live"
    BACK = "back"


_SHIPPED, _REFITTED = FaceForgery.name, RefittedFaces.name


def promoted(text: str, step: Step, heads: tuple[str, ...] = ()) -> str:
    """The detectors file after the step; comments are lost.

    Args:
        text: the file in use.
        step: where the heads go.
        heads: files of `unmask models refit`, for the step into shadow.

    Raises:
        ConfigError: it is no detectors file, or one without `face_forgery`; heads skip the shadow; there is nothing to
            promote or take back.
    """
    try:
        file: dict[str, Any] = yaml.safe_load(text)
        lines: list[dict[str, Any]] = file["detectors"]
        shipped = next((line for line in lines if line["name"] == _SHIPPED), None)
        refitted = next((line for line in lines if line["name"] == _REFITTED), None)
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise ConfigError(f"not a detectors file: {error!r}") from None
    if shipped is None:
        raise ConfigError(f"the detectors file has no {_SHIPPED}: there is nothing to stand beside")
    if step is Step.SHADOW:
        if not heads:
            raise ConfigError("name the heads that go into shadow")
        options = {**shipped.get("options", {}), "heads": list(heads)}
        beside = {**shipped, "name": _REFITTED, "mode": "shadow", "options": options}
        lines[:] = [line for line in lines if line is not refitted]
        lines.insert(lines.index(shipped) + 1, beside)
        shipped["mode"] = "live"
    elif refitted is None:
        raise ConfigError(f"no head runs beside {_SHIPPED}: it goes into shadow first")
    else:
        live = step is Step.LIVE
        shipped["mode"], refitted["mode"] = ("shadow", "live") if live else ("live", "shadow")
        if step is Step.BACK and not _fits(refitted):
            lines.remove(refitted)
    told = yaml.safe_dump(file, sort_keys=False, width=120, default_flow_style=None)
    parse(told)
    return told


def _fits(line: dict[str, Any]) -> bool:
    """Whether the heads still go with the model. The way back must be open when they do not: no worker starts then."""
    try:
        for path in line.get("options", {}).get("heads", ()):
            read_refitted(Path(path))
    except ConfigError:
        return False
    return True
