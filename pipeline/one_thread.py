"""What computes many uploads at once computes each on one thread. Importing this sees to it.

The libraries below NumPy share every large product among as many threads as there are cores, and those wait for each
other by spinning: that was 45 % of what a worker itself burnt on two cores. They read the environment once, when NumPy
is first imported, so this has to come before it. Whoever set another number keeps it: training a head on a large
machine may want `OPENBLAS_NUM_THREADS=16`.
"""

from __future__ import annotations

import os

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}

for _name, _number in ONE_THREAD.items():
    os.environ.setdefault(_name, _number)
