"""The packaged network, rebuilt for one text at a time: the same weights, fused operators, and products in 8 bits.

The package holds 8-bit weights but multiplies floats, through an export whose masks keep onnxruntime from fusing the
attention. This network takes one text, so it needs no mask and no padding, and no other text widens the range of its
numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.errors import EmbedderError

LAYERS, HEADS, LARGEST = 6, 12, 63
"""Weights have 7 bits: without VNNI two products of 8-bit numbers are summed in 16 bits, where more would saturate."""
CLIPS = (1.0, 0.9, 0.8, 0.7)
"""Ends of a column's range, as shares of its largest weight; the one with the least error is used."""
MICROSOFT = "com.microsoft"
FLOAT, INT64 = 1, 7
"""Of onnx.TensorProto."""

Array = NDArray[Any]


class Linear(NamedTuple):
    weights: Array
    """Shape (inputs, outputs)."""
    bias: Array


class Weights(NamedTuple):
    words: Array
    """A row of 8-bit numbers for each word of the vocabulary; `word_scales` has the factor of each row."""
    word_scales: Array
    positions: Array
    norms: list[tuple[Array, Array]]
    linears: list[Linear]
    """Six in a layer: query, key, value, output, up, down."""


def read(path: Path) -> Weights:
    """The weights of the packaged model. Raises EmbedderError when the package has another model."""
    import onnx

    graph = onnx.load(path).graph
    known = {initializer.name: onnx.numpy_helper.to_array(initializer) for initializer in graph.initializer}
    taker = {name: node for node in graph.node for name in node.input}
    linears = []
    for node in graph.node:
        if node.op_type == "MatMul" and f"{node.input[1]}_q" in known:
            (bias,) = (known[name] for name in taker[node.output[0]].input if name in known)
            linears.append(Linear(_floats(known, node.input[1]), bias))
    norms = [(known[n.input[1]], known[n.input[2]]) for n in graph.node if n.op_type == "LayerNormalization"]
    if len(linears) != 6 * LAYERS or len(norms) != 2 * LAYERS + 1:
        raise EmbedderError("the packaged model is not the expected one")
    name = "inner.embeddings.{}_embeddings.weight".format
    positions = _floats(known, name("position")) + known[name("token_type")][0]
    return Weights(known[f"{name('word')}_q"], known[f"{name('word')}_scale"], positions, norms, linears)


def _floats(known: dict[str, Array], name: str) -> Array:
    floats: Array = known[f"{name}_q"].astype(np.float32) * known[f"{name}_scale"]
    return floats


def quantised(weights: Array) -> tuple[Array, Array]:
    """7-bit integers and a scale for each column, by which they are `weights` with the least squared error."""
    largest = np.maximum(np.abs(weights).max(axis=0), 1e-12)
    tried = []
    for clip in CLIPS:
        scale = (largest * clip / LARGEST).astype(np.float32)
        integers = np.clip(np.round(weights / scale), -LARGEST, LARGEST)
        tried.append((((integers * scale - weights) ** 2).sum(axis=0), integers.astype(np.int8), scale))
    best = np.argmin([error for error, _, _ in tried], axis=0)
    columns = np.arange(weights.shape[1])
    integers = np.stack([integers for _, integers, _ in tried])[best, :, columns].T
    return np.ascontiguousarray(integers), np.stack([scale for _, _, scale in tried])[best, columns]


class _Graph:
    """The nodes and constants of a network; methods take and return their names."""

    def __init__(self) -> None:
        import onnx

        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, array: Array) -> str:
        self.constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, operator: str, inputs: Sequence[str], *, outputs: int = 1, domain: str = "", **how: Any) -> Any:
        names = [f"{operator}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, names, domain=domain, **how))
        return names[0] if outputs == 1 else names

    def linear(self, name: str, linear: Linear) -> "_Product":
        integers, scales = quantised(linear.weights)
        zeros = np.zeros(len(scales), np.int8)
        parts = {"weights": integers, "scales": scales, "zeros": zeros, "bias": linear.bias}
        return _Product(self, [self.constant(f"{name}.{part}", array) for part, array in parts.items()])

    def normal(self, name: str, norm: tuple[Array, Array]) -> list[str]:
        return [self.constant(f"{name}.{part}", array) for part, array in zip(("gain", "shift"), norm, strict=True)]


class _Product(NamedTuple):
    """A product in 8 bits; the input is quantised by its least and its largest number."""

    graph: _Graph
    constants: list[str]

    def of(self, value: str) -> str:
        product: str = self.graph.node("DynamicQuantizeMatMul", [value, *self.constants], domain=MICROSOFT)
        return product

    def of_split(self, value: str) -> str:
        """Multiplies the first token, [CLS], separately, since its numbers are five times as large as all others."""
        first = self.graph.node("Slice", [value, "zero", "one", "one"])
        others = self.graph.node("Slice", [value, "one", "end", "one"])
        joined: str = self.graph.node("Concat", [self.of(first), self.of(others)], axis=1)
        return joined


def build(weights: Weights, most_tokens: int) -> bytes:
    """The network as ONNX: `input_ids` (1, tokens) to `vector` (1, 384) of length 1."""
    import onnx

    graph = _Graph()
    for name, number in (("zero", 0), ("one", 1), ("end", most_tokens)):
        graph.constant(name, np.array([number], np.int64))
    value = _embeddings(graph, weights, most_tokens)
    for layer in range(LAYERS):
        linears = weights.linears[6 * layer : 6 * layer + 6]
        value = _layer(graph, f"layer{layer}", value, linears, weights.norms[2 * layer + 1 : 2 * layer + 3])
    mean = graph.node("ReduceMean", [value, "one"], keepdims=0)
    graph.nodes.append(onnx.helper.make_node("LpNormalization", [mean], ["vector"], axis=-1, p=2))
    given = onnx.helper.make_tensor_value_info("input_ids", INT64, [1, "tokens"])
    wanted = onnx.helper.make_tensor_value_info("vector", FLOAT, [1, weights.words.shape[1]])
    whole = onnx.helper.make_graph(graph.nodes, "minilm", [given], [wanted], list(graph.constants.values()))
    operators = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(MICROSOFT, 1)]
    written: bytes = onnx.helper.make_model(whole, opset_imports=operators, ir_version=8).SerializeToString()
    return written


def _embeddings(graph: _Graph, weights: Weights, most_tokens: int) -> str:
    rows = graph.node("Gather", [graph.constant("words", weights.words), "input_ids"])
    scales = graph.node("Gather", [graph.constant("word_scales", weights.word_scales), "input_ids"])
    words = graph.node("Mul", [graph.node("Cast", [rows], to=FLOAT), scales])
    length = graph.node("Shape", ["input_ids"], start=1, end=2)
    table = graph.constant("positions", weights.positions[:most_tokens])
    places = graph.node("Slice", [table, "zero", length, "zero"])
    norm = graph.normal("embeddings", weights.norms[0])
    value: str = graph.node("LayerNormalization", [graph.node("Add", [words, places]), *norm], epsilon=1e-12)
    return value


def _layer(
    graph: _Graph, name: str, value: str, linears: Sequence[Linear], norms: Sequence[tuple[Array, Array]]
) -> str:
    *heads, output, up, down = linears
    joined = Linear(np.hstack([linear.weights for linear in heads]), np.concatenate([linear.bias for linear in heads]))
    projected = graph.linear(f"{name}.heads", joined).of_split(value)
    parts = graph.node("Split", [projected], outputs=3, axis=-1, num_outputs=3)
    attended = graph.node("MultiHeadAttention", parts, domain=MICROSOFT, num_heads=HEADS)
    value = _added(graph, f"{name}.attention", graph.linear(f"{name}.output", output).of(attended), value, norms[0])
    wide = graph.node("FastGelu", [graph.linear(f"{name}.up", up).of_split(value)], domain=MICROSOFT)
    return _added(graph, name, graph.linear(f"{name}.down", down).of_split(wide), value, norms[1])


def _added(graph: _Graph, name: str, left: str, right: str, norm: tuple[Array, Array]) -> str:
    value: str = graph.node(
        "SkipLayerNormalization", [left, right, *graph.normal(name, norm)], domain=MICROSOFT, epsilon=1e-12
    )
    return value
