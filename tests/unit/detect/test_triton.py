"""Reading model configurations. What needs a server is tested in tests/integration/detect."""

import pytest

from pipeline.detect.port import ModelSpec, TensorSpec
from pipeline.detect.triton import parse_config
from pipeline.errors import ConfigError


def test_a_configuration_becomes_a_model():
    """Names, types, shapes and the batch, as the file says."""
    text = """
    name: "m"  backend: "onnxruntime"  max_batch_size: 8
    input [ { name: "a" data_type: TYPE_UINT8 dims: [ -1, 4 ] } ]
    output [ { name: "b" data_type: TYPE_FP32 dims: [ 1 ] }, { name: "c" data_type: TYPE_INT64 dims: [ 2 ] } ]
    """
    assert parse_config(text) == ModelSpec(
        "m",
        (TensorSpec("a", "UINT8", (-1, 4)),),
        (TensorSpec("b", "FP32", (1,)), TensorSpec("c", "INT64", (2,))),
        max_batch=8,
    )


@pytest.mark.parametrize("text", ["max_batch_size: many", 'nom: "m"', "input [", "\x00"])
def test_what_is_no_configuration_is_refused(text):
    """The error says that, and where it stopped."""
    with pytest.raises(ConfigError, match="not a model configuration"):
        parse_config(text)


def test_a_type_that_no_detector_can_send_is_refused():
    """Text tensors are named as what they are not."""
    with pytest.raises(ConfigError, match="a has the type STRING"):
        parse_config('name: "m" input [ { name: "a" data_type: TYPE_STRING dims: [ 1 ] } ]')
