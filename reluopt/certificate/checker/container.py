"""Section 2 of SPEC.md, the file as bytes: a safetensors file that is told what it may hold, and strict JSON.

Sizes are checked before anything of that size is made.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from .refusal import Refused, require, shown

MAX_HEADER = 2**22
MAX_ENTRIES = 2**60  # the product of the sizes of a tensor that are not 0
_TYPES: dict[str, np.dtype] = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}


def outline(
    raw: bytes, size: int, known: set[str]
) -> tuple[Any, dict[str, tuple[np.dtype, tuple[int, ...], int]], int]:
    """(document, tensors by name as (type, shape, offset), where the tensors start) of a file of ``size`` bytes.

    Only the tensors ``known`` by name may be in it.
    """
    start = 8 + header_size(raw[:8])
    require(start <= min(size, len(raw)), "the header is cut off")
    header = _json(raw[8:start])
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    text = metadata.get("certificate") if isinstance(metadata, dict) and len(metadata) == 1 else None
    if not isinstance(text, str):
        raise Refused("the metadata must have the one key 'certificate', a text")
    require(set(header) <= known, f"an unknown tensor {shown(next(iter(set(header) - known), ''))}")
    table, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])):
        (first, last), kind, shape = _offsets(entry), _kind(entry), _shape(entry)
        require(
            first == end and last - first == kind.itemsize * math.prod(shape),
            f"the bytes of the tensor '{name}' do not fit",
        )
        table[name], end = (kind, shape, first), last
    require(start + end == size, "the file is longer or shorter than its tensors")
    return _json(text), table, start


def header_size(raw: bytes) -> int:
    """The length of the header, from the first 8 bytes."""
    require(len(raw) == 8, "the file is shorter than its header")
    size = int(struct.unpack("<Q", raw)[0])
    require(size <= MAX_HEADER, f"the header is larger than {MAX_HEADER} bytes")
    return size


def _offsets(entry: Any) -> tuple[int, int]:
    ends = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(ends, list) and len(ends) == 2 and all(type(end) is int and end >= 0 for end in ends)):
        raise Refused("a tensor has no offsets")
    return ends[0], ends[1]


def _kind(entry: Any) -> np.dtype:
    kind = entry.get("dtype")
    require(isinstance(kind, str) and kind in _TYPES, f"a tensor has the type {shown(kind)}, not F64, I64 or U8")
    return _TYPES[kind]


def _shape(entry: Any) -> tuple[int, ...]:
    shape = entry.get("shape")
    sizes = isinstance(shape, list) and len(shape) <= 3 and all(type(k) is int and 0 <= k < 2**40 for k in shape)
    # numpy makes no array of larger sizes, not even an empty one
    require(sizes and math.prod(k for k in shape if k) < MAX_ENTRIES, f"a tensor has the shape {shown(shape)}")
    return tuple(shape)


def _json(text: bytes | str) -> Any:
    """JSON in which no key occurs twice and every number has a finite nearest binary64."""
    try:
        return json.loads(
            text, parse_constant=_number, parse_float=_number, parse_int=_integer, object_pairs_hook=_no_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise Refused(f"the metadata are not JSON ({type(error).__name__})") from error


def _number(text: str) -> float:
    value = float(text)
    require(math.isfinite(value), f"the metadata have the number {shown(text)}")
    return value


def _integer(text: str) -> int:
    require(len(text) <= 308, "the metadata have a number that overflows")
    return int(text)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(pairs) == len(dict(pairs)), "the metadata give a key twice")
    return dict(pairs)
