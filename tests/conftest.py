"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """Undo what the AV1 encoder does to a process of root's: it makes it SCHED_FIFO 99, and so whatever it starts.

    A worker that is started then leaves no processor to the broker and the inference server that it waits for.
    """
    yield
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
