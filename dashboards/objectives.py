"""What is promised of screening, and how fast the promise may be used up.

The windows and factors are those of the Google SRE workbook, chapter 5, "Alerting on SLOs": a page when 2 % of a
month's budget goes in an hour (14.4 times too fast) or 5 % in six hours (6 times), a ticket at 10 % in a day or three
days; each with a short window beside the long one, so that the alert ends soon after the trouble does.
"""

from __future__ import annotations

from dataclasses import dataclass

OUR_REASONS = (
    "deadline",
    "internal",
    "inference_unavailable",
    "inference_rejected",
    "ledger_unavailable",
    "broker_unavailable",
    "source_unavailable",
)
"""Why an upload was not screened, where that is not the file's own fault: these use up the budget."""
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
DRIFT_GAP = 0.15
"""A gap of two distributions that is worth a look: two samples of 500 differ by 0.086 or more in one of twenty cases by
chance (Kolmogorov–Smirnov)."""
DRIFT_COUNT = 500
"""Scores that both sides need."""


@dataclass(frozen=True, slots=True)
class Objective:
    """`bad` of `all`, both with `[WINDOW]`, may be at most `budget`. `ratio`: the recorded share of bad ones."""

    name: str
    what: str
    budget: float
    bad: str
    all: str

    @property
    def ratio(self) -> str:
        """The recording rule's name before the window."""
        return f"unmask:screen_{self.name}:ratio_rate"

    def expr(self, window: str) -> str:
        """The share of bad ones over a window."""
        return f"({self.bad}) / ({self.all})".replace("WINDOW", window)


FAILED = Objective(
    "failed",
    "uploads that Unmask itself failed to screen",
    0.001,
    f'sum(rate(unmask_dead_letters_total{{agent="screen",reason=~"{"|".join(OUR_REASONS)}"}}[WINDOW]))',
    'sum(rate(unmask_items_total{agent="screen",result=~"ok|dead_letter"}[WINDOW]))',
)
SLOW = Objective(
    "slow",
    "uploads answered later than 60 s after they arrived",
    0.01,
    'sum(rate(unmask_item_age_seconds_count{agent="screen"}[WINDOW]))'
    ' - sum(rate(unmask_item_age_seconds_bucket{agent="screen",le="60.0"}[WINDOW]))',
    'sum(rate(unmask_item_age_seconds_count{agent="screen"}[WINDOW]))',
)
OBJECTIVES = (FAILED, SLOW)
