"""Writes Triton repositories of one-node ONNX graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import TensorProto, helper

TRITON_TYPES = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.FLOAT16: "TYPE_FP16",
    TensorProto.DOUBLE: "TYPE_FP64",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.BOOL: "TYPE_BOOL",
    TensorProto.STRING: "TYPE_STRING",
}

# Held for up to this long while a batch fills, so that requests which are sent together are batched together.
BATCH_DELAY_US = 200_000


@dataclass(frozen=True)
class TinyModel:
    """One operator. Shapes are those of the ONNX graph; with a batch the first dimension is left out of the config."""

    name: str
    operator: str
    inputs: Sequence[tuple[str, int, Sequence[str | int]]]
    outputs: Sequence[tuple[str, int, Sequence[str | int]]]
    max_batch_size: int = 8
    batch_delay_us: int = 0
    parameters: str = ""
    attributes: Mapping[str, int] = field(default_factory=dict)

    def graph(self) -> onnx.ModelProto:
        node = helper.make_node(
            self.operator, [n for n, _, _ in self.inputs], [n for n, _, _ in self.outputs], **self.attributes
        )
        graph = helper.make_graph(
            [node],
            self.name,
            [helper.make_tensor_value_info(*tensor) for tensor in self.inputs],
            [helper.make_tensor_value_info(*tensor) for tensor in self.outputs],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def config(self) -> str:
        batching = self.max_batch_size > 0

        def tensors(kind: str, listed: Sequence[tuple[str, int, Sequence[str | int]]]) -> str:
            return "".join(
                f'{kind} [ {{ name: "{name}" data_type: {TRITON_TYPES[dtype]} '
                f"dims: [ {', '.join(str(d) if isinstance(d, int) else '-1' for d in shape[batching:])} ] }} ]\n"
                for name, dtype, shape in listed
            )

        return (
            f'backend: "onnxruntime"\nmax_batch_size: {self.max_batch_size}\n'
            + tensors("input", self.inputs)
            + tensors("output", self.outputs)
            + "instance_group [ { count: 1 } ]\n"
            + (f"dynamic_batching {{ max_queue_delay_microseconds: {self.batch_delay_us} }}\n" if batching else "")
            + self.parameters
        )


FLOAT, BATCH_BY_N = TensorProto.FLOAT, ("batch", "n")


def _identity(name: str, dtype: int) -> TinyModel:
    return TinyModel(name, "Identity", [("x", dtype, BATCH_BY_N)], [("y", dtype, BATCH_BY_N)])


MODELS = (
    _identity("identity_fp32", TensorProto.FLOAT),
    _identity("identity_fp16", TensorProto.FLOAT16),
    _identity("identity_fp64", TensorProto.DOUBLE),
    _identity("identity_int64", TensorProto.INT64),
    _identity("identity_int32", TensorProto.INT32),
    _identity("identity_uint8", TensorProto.UINT8),
    _identity("identity_bool", TensorProto.BOOL),
    TinyModel("add", "Add", [("a", FLOAT, BATCH_BY_N), ("b", FLOAT, BATCH_BY_N)], [("sum", FLOAT, BATCH_BY_N)]),
    TinyModel(
        "add_batched",
        "Add",
        [("a", FLOAT, BATCH_BY_N), ("b", FLOAT, BATCH_BY_N)],
        [("sum", FLOAT, BATCH_BY_N)],
        batch_delay_us=BATCH_DELAY_US,
        parameters='parameters { key: "intra_op_thread_count" value { string_value: "2" } }\n',
    ),
    TinyModel(
        "gather",  # an index that is out of range is an error of this request alone
        "GatherElements",
        [("table", FLOAT, BATCH_BY_N), ("index", TensorProto.INT64, ("batch", "k"))],
        [("picked", FLOAT, ("batch", "k"))],
        attributes={"axis": 1},
        batch_delay_us=BATCH_DELAY_US,
    ),
    TinyModel("unbatched_max", "TopK", [("x", FLOAT, ("n",)), ("k", TensorProto.INT64, (1,))],
              [("values", FLOAT, ("m",)), ("indices", TensorProto.INT64, ("m",))], max_batch_size=0),
)  # fmt: skip


def write_repository(folder: Path, models: Sequence[TinyModel] = MODELS) -> Path:
    """Lay the models out as Triton wants them; returns `folder`."""
    for model in models:
        (folder / model.name / "1").mkdir(parents=True)
        onnx.save(model.graph(), str(folder / model.name / "1/model.onnx"))
        (folder / model.name / "config.pbtxt").write_text(model.config())
    return folder
