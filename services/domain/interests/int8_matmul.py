"""The product of two matrices of 8-bit numbers, by onnxruntime: an ONNX graph of one MatMulInteger node."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

ZERO = 64
"""What stands for 0 in the left matrix, whose numbers have 7 bits (0 … 127).

Without VNNI the kernels add pairs of products in 16 bits and saturate: 2 · 127 · 127 = 32,258 still fits there, so that
the sums are exact on every processor; 8 bits on both sides would not fit.
"""
UINT8, INT8, INT32 = 2, 3, 6  # onnx.TensorProto.DataType


def product(left: NDArray[np.uint8], right: NDArray[np.int8]) -> NDArray[np.int32]:
    """`(left - ZERO) @ right`, exact, for numbers of 0 … 127 and of -127 … 127."""
    feed = {"left": left, "right": right, "zero": np.array(ZERO, np.uint8)}
    (found,) = _session().run(None, feed)
    return np.asarray(found, np.int32)


@cache
def _session() -> Any:
    import onnxruntime  # here: a command that matches nothing should not pay for it

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # whoever calls has threads: the sums are used in the cache where they were made
    return onnxruntime.InferenceSession(_graph(), options, providers=["CPUExecutionProvider"])


def _graph() -> bytes:
    """The model in protocol buffers; the numbers are those of onnx.proto's fields."""
    node = b"".join(_bytes(1, name) for name in (b"left", b"right", b"zero"))
    node += _bytes(2, b"sums") + _bytes(4, b"MatMulInteger")
    graph = _bytes(1, node) + _bytes(2, b"product")
    graph += _tensor(11, b"left", UINT8, b"rows", b"inner") + _tensor(11, b"right", INT8, b"inner", b"columns")
    graph += _tensor(11, b"zero", UINT8) + _tensor(12, b"sums", INT32, b"rows", b"columns")
    return _number(1, 8) + _bytes(8, _number(2, 13)) + _bytes(7, graph)


def _tensor(field: int, name: bytes, kind: int, *dimensions: bytes) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, one)) for one in dimensions)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape))))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
