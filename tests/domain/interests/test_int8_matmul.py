"""The stored model is the one that onnx makes, and its products are exact."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from services.domain.interests import int8_matmul
from services.domain.interests.int8_matmul import ZERO, product


def test_the_stored_model_is_what_onnx_makes() -> None:
    tensor = helper.make_tensor_value_info
    inputs = [
        tensor("left", TensorProto.UINT8, ["rows", "inner"]),
        tensor("right", TensorProto.INT8, ["inner", "columns"]),
        tensor("zero", TensorProto.UINT8, []),
    ]
    node = helper.make_node("MatMulInteger", ["left", "right", "zero"], ["sums"])
    graph = helper.make_graph([node], "product", inputs, [tensor("sums", TensorProto.INT32, ["rows", "columns"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    assert onnx.load_from_string(int8_matmul._MODEL) == model


def test_the_largest_sums_are_exact() -> None:
    left, right = np.full((3, 1000), 127, np.uint8), np.full((1000, 5), -127, np.int8)
    assert (product(left, right) == (127 - ZERO) * -127 * 1000).all()
