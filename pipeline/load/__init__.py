"""Load: offer uploads at a rate, follow each to its outcome, and say what came of it.

    mix ─► media ─► arrivals ─► offer ─► (Kafka) ─► follow ─► report ─► find

`mix`, `arrivals`, `report` and `find` are pure; `offer` is the producer, `follow` the consumer, `run` joins them.
"""
