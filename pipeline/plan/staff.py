"""How many people review: the queue of Erlang with random arrivals, and nobody giving up. Pure.

Source: A. K. Erlang, 1917, as in Gross, Shortle, Thompson, Harris, Fundamentals of Queueing Theory, 4th ed., §2.3–2.4.
"""

from __future__ import annotations

import math


def waits_longer(people: int, tasks_per_second: float, handling: float, seconds: float) -> float:
    """The share of tasks that wait longer than so many seconds for somebody. 1 where people cannot keep up."""
    load = tasks_per_second * handling
    if people <= load:
        return 1.0
    blocked = 1.0
    for n in range(1, people + 1):  # Erlang's B by its recursion, which neither overflows nor loses digits
        blocked = load * blocked / (n + load * blocked)
    return _delayed(blocked, people, load) * math.exp(-(people - load) / handling * seconds)


def people_needed(tasks_per_second: float, handling: float, within: float, kept: float) -> int:
    """The fewest people who begin the share `kept` of tasks within so many seconds; 0 where there are no tasks."""
    load = tasks_per_second * handling
    if load <= 0:
        return 0
    blocked, people = 1.0, 0
    while True:
        people += 1
        blocked = load * blocked / (people + load * blocked)
        if people <= load:
            continue
        if _delayed(blocked, people, load) * math.exp(-(people - load) / handling * within) <= 1 - kept:
            return people


def _delayed(blocked: float, people: int, load: float) -> float:
    """Erlang's C from his B: the share that waits at all."""
    return blocked / (1 - load / people * (1 - blocked))
