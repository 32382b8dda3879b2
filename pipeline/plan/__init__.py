"""Plan: from what a platform expects and what an upload was measured to cost, to machines, people and money.

    inputs ─► flow (simulated) ─► size ─► tables, page
              staff (Erlang C) ──┘

All is pure but `read`, which reads files and a worker's `/metrics`.
"""
