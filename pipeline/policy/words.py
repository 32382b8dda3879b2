"""Reasons in plain words, with the numbers behind them: what a platform may show to the people concerned."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.errors import Reason
from pipeline.events.values import Failure, Family, Signal, SignalStatus

_FAILED: Mapping[str, str] = {
    Reason.SOURCE_FORBIDDEN: "it lies where nothing may be read",
    Reason.DIGEST_MISMATCH: "the file is not the one that was announced",
    Reason.MEDIA_BOMB: "it unpacks to far more than it claims to be",
    Reason.INFERENCE_UNAVAILABLE: "the detectors did not answer",
    Reason.INFERENCE_REJECTED: "the detectors refused it",
    Reason.DEADLINE: "there was not enough time",
    Reason.INTERNAL: "a fault of ours",
}
"""Causes whose names only an engineer understands."""


def crossed(reason: str, signals: tuple[tuple[Signal, float], ...]) -> str:
    """ "Possible face swap at 00:03.2: probability 0.91 (0.85–0.95), at or above 0.80."

    Args:
        reason: how the sentence starts.
        signals: what crossed which threshold; with several, each is named.
    """
    if not signals:
        return f"{reason}."
    if len(signals) == 1:
        signal, threshold = signals[0]
        return f"{reason}{_moment(signal)}: probability {_seen(signal, threshold)}, at or above {_number(threshold)}."
    parts = (
        f"{spoken(signal.family)}{_moment(signal)} {_seen(signal, threshold)}, at or above {_number(threshold)}"
        for signal, threshold in signals
    )
    return f"{reason}: {'; '.join(parts)}."


def doubtful(reason: str, signal: Signal, edge: float | None) -> str:
    """ "A face swap cannot be ruled out at 00:03.2: probability 0.66 (0.58–0.74), too uncertain to say." """
    start = f"{reason}{_moment(signal)}: probability {_seen(signal, edge or 0.0)}"
    if signal.status is SignalStatus.ABSTAINED or edge is None:
        return f"{start}, too uncertain to say."
    return f"{start}, at or above {_number(edge)}, where doubt begins."


def not_judged(reason: str, family: Family, coverage: float) -> str:
    """ "Not judged: face swap (a quarter of the detectors' questions…)": which family, and how much was looked at."""
    part = f" (looked at {math.floor(coverage * 100)} %)" if 0 < coverage < 1 else ""
    return f"{reason}: {spoken(family)}{part}."


def failed(reason: str, failure: Failure) -> str:
    """ "Could not be screened: media corrupt (decode)." The detail stays out: it may name hosts and paths."""
    why = _FAILED.get(failure.reason, failure.reason.replace("_", " "))
    return f"{reason}: {why} ({failure.stage})."


def spoken(family: Family) -> str:
    """`face_swap` → "face swap"."""
    return family.value.replace("_", " ")


def _moment(signal: Signal) -> str:
    """Where the strongest evidence points; nothing for stills, whose only moment is 0."""
    moments = [evidence.at for evidence in signal.evidence if evidence.at is not None]
    if not signal.evidence or signal.evidence[0].at is None or not any(moments):
        return ""
    tenths = math.floor(max(0.0, signal.evidence[0].at) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02}:{rest // 10:02}.{rest % 10}"
    return f" at {hours}:{clock}" if hours else f" at {clock}"


def _seen(signal: Signal, threshold: float) -> str:
    digits = max(2, len(_number(threshold)) - 2)
    value = _cut(signal.probability or 0.0, digits)
    if signal.low is None or signal.high is None:
        return value
    return f"{value} ({_cut(signal.low, digits)}–{_cut(signal.high, digits)})"


def _cut(probability: float, digits: int) -> str:
    """Cut, not rounded: 0.996 is not certainty, and what is below a threshold must not read as if it were on it."""
    scale = 10**digits
    return f"{math.floor(probability * scale + 1e-9) / scale:.{digits}f}"


def _number(threshold: float) -> str:
    """At least two decimals, more when the policy gives more."""
    text = f"{threshold:.6f}".rstrip("0")
    return text.ljust(4, "0") if len(text) < 4 else text
