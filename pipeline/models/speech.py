"""Silero's voice activity detector for a whole waveform in one request. Pure.

Its authors publish two graphs: one that is asked chunk by chunk and hands its state back, and one that takes all chunks
of a recording together, as rows with the 64 samples before each. The second is used: all but a small recurrent layer
works on all chunks at once. What stays to be done here is cutting a waveform into those rows.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from pipeline.models.graphs import _Graph, _value

CHUNK, CONTEXT, STATE = 512, 64, 128
"""Samples per probability, samples of the chunk before that are seen again, and numbers of state: as trained."""


def voice_activity(silero: onnx.ModelProto) -> onnx.ModelProto:
    """Mono sound at 16 kHz in (`waveform`, at least one sample), a `probability` of speech out for each 512 samples.

    The last chunk is filled up with silence. The state is nought at the start and carried to the end.
    """
    graph = _Graph()
    length = graph("Shape", "waveform")
    missing = graph("Mod", graph("Neg", length), graph.const(np.array([CHUNK])))
    padded = graph("Pad", "waveform", graph("Concat", graph.const(np.array([0])), missing, axis=0))
    chunks = graph("Reshape", padded, graph.const(np.array([-1, CHUNK])))
    ends = (graph.const(np.array(end)) for end in ([0, CHUNK - CONTEXT], [-1, CHUNK], [0, 1]))
    before = graph("Concat", graph.const(np.zeros((1, CONTEXT), np.float32)), graph("Slice", chunks, *ends), axis=0)
    nothing = graph.const(np.zeros((1, 1, STATE), np.float32))
    old = silero.graph
    rows, hidden, cell = (value.name for value in old.input)
    given = {rows: graph("Concat", before, chunks, axis=1), hidden: nothing, cell: nothing}
    graph.take(old, {**given, old.output[0].name: "probability"})
    waveform = _value("waveform", TensorProto.FLOAT, ("samples",))
    return graph.model("voice_activity", [waveform], [_value("probability", TensorProto.FLOAT, ("chunks",))])
