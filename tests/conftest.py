"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Property tests: no example has to be quick (machines are shared), and a commit is held against the same examples
# everywhere. `HYPOTHESIS_PROFILE=explore` draws others every time.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """Undo what the AV1 encoder does to a process of root's: it makes it SCHED_FIFO 99, and so whatever it starts.

    A worker that is started then leaves no processor to the broker and the inference server that it waits for.
    """
    yield
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
