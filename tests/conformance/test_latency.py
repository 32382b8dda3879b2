"""What each detector takes, told and not judged: the machine that runs the tests may be doing anything else."""

import time

import numpy as np
import pytest

from tests.conformance.scene import SECONDS, sendable

pytestmark = pytest.mark.slow

ROUNDS = 3


async def test_what_a_question_takes_is_told(detector, view, infer, latencies):
    """Every question of the clip, one after the other, three times: median and 95th percentile go into the table.

    Of preparing, the quickest counts: the first reads files.
    """
    preparing, asking = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        probes = sendable(detector, view)
        preparing.append(1000 * (time.perf_counter() - started))
        for probe in probes:
            started = time.perf_counter()
            outputs = await infer(detector.model, probe.tensors, within=SECONDS) if detector.model else probe.tensors
            detector.interpret(probe, outputs)
            asking.append(1000 * (time.perf_counter() - started))
    latencies[detector.name] = {
        "version": detector.version,
        "questions": len(probes),
        "prepare": round(min(preparing), 2),
        "median": round(float(np.median(asking)), 2),
        "p95": round(float(np.percentile(asking, 95)), 2),
        "slowest": round(max(asking), 2),
    }
    assert len(asking) == ROUNDS * len(probes) > 0
