"""The product of two matrices of 8-bit numbers, by onnxruntime: an ONNX graph of one MatMulInteger node."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

ZERO = 64
"""The number that means 0 in the left matrix, whose numbers have 7 bits (0 … 127).

Without VNNI the kernels add pairs of products in 16 bits and saturate: 2 · 127 · 127 = 32,258 still fits there, so that
the sums are exact on every processor; 8 bits on both sides would not fit.
"""
_MODEL = (
    b'\x08\x08:\xac\x01\n(\n\x04left\n\x05right\n\x04zero\x12\x04sums"\rMatMulInteger\x12\x07product'
    b"Z\x1f\n\x04left\x12\x17\n\x15\x08\x02\x12\x11\n\x06\x12\x04rows\n\x07\x12\x05inner"
    b"Z#\n\x05right\x12\x1a\n\x18\x08\x03\x12\x14\n\x07\x12\x05inner\n\t\x12\x07columns"
    b"Z\x0e\n\x04zero\x12\x06\n\x04\x08\x02\x12\x00"
    b"b!\n\x04sums\x12\x19\n\x17\x08\x06\x12\x13\n\x06\x12\x04rows\n\t\x12\x07columnsB\x04\n\x00\x10\r"
)
"""The model as `onnx.helper` serialises it. `import onnx` would cost each process that matches 80 ms and 11 MiB.

`tests/domain/test_int8_product.py` makes the model with `onnx.helper` and compares.
"""


def product(left: NDArray[np.uint8], right: NDArray[np.int8]) -> NDArray[np.int32]:
    """`(left - ZERO) @ right`, exact, for numbers of 0 … 127 and of -127 … 127."""
    feed = {"left": left, "right": right, "zero": np.array(ZERO, np.uint8)}
    (sums,) = _session().run(None, feed)
    return np.asarray(sums, np.int32)


@cache
def _session() -> Any:
    import onnxruntime  # slow to import, and most commands do not match

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # the caller has its own threads, which use the sums while they are in the cache
    return onnxruntime.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
