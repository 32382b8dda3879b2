"""Logs: what is let through, and what every line carries."""

from __future__ import annotations

import json
import logging

import structlog

from pipeline import log


def line(name: str, number: int) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "file.py", number, "away", None, None)


def test_a_chatty_library_is_heard_once_a_second_per_call_site():
    """Repeats of one line are dropped for a second; other lines and other loggers are not."""
    now = 0.0
    sparingly = log.Sparingly("aiokafka", seconds=1.0, clock=lambda: now)
    assert sparingly.filter(line("aiokafka.conn", 1))
    assert not sparingly.filter(line("aiokafka.conn", 1))
    assert sparingly.filter(line("aiokafka.conn", 2))
    assert all(sparingly.filter(line("pipeline.app", 1)) for _ in range(5))
    now = 1.5
    assert sparingly.filter(line("aiokafka.conn", 1))


def test_lines_are_json_and_carry_what_was_bound(capsys):
    """media_id and trace_id, once bound, are on every line, also on those of libraries."""
    before = logging.getLogger().handlers, logging.getLogger().level
    try:
        log.configure("info", "json")
        with structlog.contextvars.bound_contextvars():
            log.bind(media_id="m-1", trace_id="abc")
            log.get("pipeline.test").info("screened", action="allow")
            logging.getLogger("somebody").warning("else")
        lines = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    finally:
        logging.getLogger().handlers, logging.getLogger().level = before
    assert [(each["event"], each["media_id"], each["trace_id"]) for each in lines] == [
        ("screened", "m-1", "abc"),
        ("else", "m-1", "abc"),
    ]
