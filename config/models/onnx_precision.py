"""How precise an ONNX model's weights are, from the file itself: onnxruntime does not tell.

Only the lengths of protocol buffers' fields are walked (ModelProto.graph, GraphProto.initializer, TensorProto.dims
and data_type, of the ONNX specification), nothing of the weights is read.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Bytes = bytes | mmap.mmap

GRAPH: Final = 7
INITIALIZER: Final = 5
DIMS: Final = 1
DATA_TYPE: Final = 2
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
TYPES: Final[Mapping[int, str]] = {
    1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 11: "fp64", 16: "bf16", 21: "int4", 22: "int4",
}  # fmt: skip
"""Of TensorProto.DataType those that weights have. Indices are of none of them."""


def precision(weights: Path) -> str:
    """Of most of the numbers: fp32, fp16, int8, ...; "onnx" where the file does not say it that way."""
    counted: Counter[str] = Counter()
    try:
        with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for field, start, end in _fields(data, 0, len(data)):
                if field == GRAPH:
                    _count(data, start, end, counted)
    except (ValueError, IndexError, OSError):  # no such file: who loads it says so
        return "onnx"
    return counted.most_common(1)[0][0] if counted else "onnx"


def _count(data: Bytes, start: int, end: int, counted: Counter[str]) -> None:
    for field, first, last in _fields(data, start, end):
        if field == INITIALIZER:
            kind, dims = 0, []
            for inner, value, stop in _fields(data, first, last):
                if inner == DATA_TYPE:
                    kind = _varint(data, value)[0]
                elif inner == DIMS:
                    dims += _packed(data, value, stop)
            if kind in TYPES:
                counted[TYPES[kind]] += math.prod(dims)


def _fields(data: Bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, first byte and end of each field's value. Raises ValueError, IndexError where it is no such buffer."""
    while start < end:
        key, start = _varint(data, start)
        kind = key & 7
        if kind == LENGTH:
            length, start = _varint(data, start)
        elif kind == VARINT:
            length = _varint(data, start)[1] - start
        elif kind in {FIXED64, FIXED32}:
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("no protocol buffer")
        if start + length > end:
            raise ValueError("no protocol buffer")
        yield key >> 3, start, start + length
        start += length


def _packed(data: Bytes, start: int, end: int) -> list[int]:
    """Dimensions stand one by one or packed: both are varints up to the value's end."""
    values = []
    while start < end:
        value, start = _varint(data, start)
        values.append(value)
    return values


def _varint(data: Bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[start]
        value |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if byte < 0x80:
            return value, start
        if shift > 63:
            raise ValueError("no protocol buffer")
