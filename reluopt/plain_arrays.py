"""Whatever people have as numpy: tensors of every layout, tables, masked arrays, lists, objects that say how.

:func:`as_array` makes a plain array of any kind, :func:`as_numbers` contiguous float64 of it. What would be lost on the
way (imaginary parts, masks, differences of large whole numbers) is refused, by the words of :class:`Called`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from reluopt.config import short
from reluopt.errors import DataError

#: Types of cells that are missing; pandas' are known by their names, without importing it.
_MISSING = ("NoneType", "NAType", "NaTType", "MaskedConstant")
_KINDS = "an array, a tensor, a data frame or lists"
#: Types that numpy makes numbers of, all at once.
_NUMBERS = (int, float, np.integer, np.floating, np.bool_, type(None))
#: What an array-like of others can raise while it is made into an array.
_UNMADE = (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError, LookupError)


@dataclass(frozen=True)
class Called:
    """What messages call an array.

    Attributes
    ----------
    name : "X", as a user writes it in a remedy.
    source : what it came of, such as a file; "" if that need not be said.
    entry : the words for the entry at an index; ``X[3, 1]`` unless given.
    """

    name: str
    source: str = ""
    entry: Callable[[tuple[int, ...]], str] | None = None

    @classmethod
    def of(cls, name: str | Called) -> Called:
        """A name as what messages need."""
        return name if isinstance(name, Called) else cls(name)

    def __str__(self) -> str:
        return self.name if self.source in ("", self.name) else f"{self.source}: {self.name}"

    def at(self, index: Iterable[Any]) -> str:
        """The words for an entry."""
        place = tuple(int(i) for i in index)
        if self.entry is not None:
            return self.entry(place)
        return f"{self}[{', '.join(map(str, place))}]" if place else str(self)


def as_numbers(values: Any, name: str | Called) -> np.ndarray:
    """Values of any shape as contiguous float64, NaN where one is missing (None, NA, masked).

    Raises
    ------
    DataError : sparse, complex, text, ragged; whole numbers that float64 does not tell apart.
    """
    name = Called.of(name)
    array = as_array(values, name)
    if array.dtype == object:
        array = _of_objects(array, name)
    kind = array.dtype.kind
    if kind not in "fiub":
        raise _other_kind(array, name)
    if kind in "iu":
        _require_told_apart(array, name)
    with np.errstate(over="ignore"):  # what overflows is infinite, and is named as that
        array = np.ascontiguousarray(array, dtype=np.float64)
    return array if array.flags.writeable else array.copy()  # torch takes no array that is read only, as pandas' are


def as_array(values: Any, name: str | Called) -> np.ndarray:
    """Values as a plain numpy array of any kind: numbers, texts, or objects where it holds several kinds.

    What is masked becomes NaN, or None among what is no number. Numbers beside texts stay numbers.

    Raises
    ------
    DataError : sparse values, tensors without values, rows of different length, no array at all.
    """
    name = Called.of(name)
    if values is None:
        raise DataError(f"There is no {name.name}.", f"Give {name.name} as {_KINDS}.")
    try:
        values = _plain(values, name)
        array = np.asarray(values)
        if array.dtype.kind in "USV" and isinstance(values, list | tuple):  # numpy makes texts of numbers beside them
            array = np.array(values, dtype=object)
    except _UNMADE as error:
        raise _unequal(values, name, error) from None
    if array.dtype == object and array.ndim == 0:
        raise DataError(
            f"{name} is a {type(values).__name__}, not an array of numbers.",
            f"Give {name.name} as {_KINDS}.",
        )
    return array.astype(object) if array.dtype.kind == "T" else array  # numpy's texts of any length


def as_unwrapped(values: Any, name: str | Called) -> Any:
    """Tensors and masked arrays as plain numpy, for others' checks that would not see the mask; the rest as it is.

    Raises
    ------
    DataError : a tensor that holds no numbers of its own, such as a sparse one.
    """
    return values if hasattr(type(values), "toarray") else _plain(values, Called.of(name))


def is_missing(value: Any) -> bool:
    """Whether a cell is None, NA, NaT, a masked one or NaN."""
    return type(value).__name__ in _MISSING or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


# -- one kind of thing after the other -------------------------------------------------------------------------------


def _plain(values: Any, name: Called) -> Any:
    """Values as numpy, or Python's own lists and numbers, can take them."""
    kind = type(values)
    if hasattr(kind, "toarray"):
        raise DataError(f"{name} is sparse.", f"Give it dense: {name.name}.toarray().")
    if hasattr(kind, "detach"):
        return _of_tensor(values, name)
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values)
    if isinstance(values, list | tuple) and any(_is_array(value) for value in values):
        return [_plain(value, name) for value in values]
    if hasattr(kind, "to_numpy") and not hasattr(kind, "__array__"):
        return _plain(values.to_numpy(), name)
    return values


def _is_array(value: Any) -> bool:
    return not isinstance(value, np.generic) and hasattr(type(value), "__array__")


def _unmasked(values: np.ma.MaskedArray) -> np.ndarray:
    if not np.ma.is_masked(values):
        return np.asarray(values.data)
    filled = np.array(values.data, dtype=np.float64 if values.dtype.kind in "fiub" else object)
    filled[np.ma.getmaskarray(values)] = None  # NaN among numbers
    return filled


def _of_tensor(values: Any, name: Called) -> Any:
    """A tensor of torch, of whatever layout, type and device, as numpy."""
    import torch  # whoever has a tensor has it

    values = values.detach()
    if hasattr(values, "get_mask"):  # torch.masked
        values = torch.where(values.get_mask(), values.get_data().double(), math.nan)
    if values.is_nested:
        raise DataError(
            f"{name} is a nested tensor, whose rows may differ in length.",
            f"Give equal rows: torch.stack({name.name}.unbind()), where they have one length.",
        )
    if values.is_meta:
        raise DataError(
            f"{name} is on the device meta, where tensors have no values.", "Give the tensor that has the values."
        )
    if values.is_mkldnn:
        values = values.to_dense()
    elif values.layout != torch.strided:
        raise DataError(f"{name} is sparse.", f"Give it dense: {name.name}.to_dense().")
    if values.is_quantized:
        values = values.dequantize()
    if values.is_floating_point():  # of half a width or less, which numpy may lack
        values = values.double()
    return values.cpu().resolve_conj().resolve_neg().numpy()


def _of_objects(array: np.ndarray, name: Called) -> np.ndarray:
    """Objects as numbers, NaN where one is missing; whole numbers that are all of them stay whole."""
    kinds = set(map(type, array.flat))
    if kinds == {int}:
        _require_told_apart(array, name)
    if all(issubclass(kind, _NUMBERS) for kind in kinds):
        with suppress(OverflowError):  # named below
            return array.astype(np.float64)
    numbers = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            numbers[index] = math.nan if is_missing(value) else float(value)
        except OverflowError:
            raise DataError(f"{name.at(index)} is too large for float64.", "Rescale the column.") from None
        except _UNMADE:
            raise _no_number(value, name.at(index), name.name) from None
    return numbers


def _unequal(values: Any, name: Called, error: Exception) -> DataError:
    """Why no array could be made: rows of different length, or what whoever was asked says."""
    rows = values if isinstance(values, list | tuple) else []
    lengths = sorted({len(row) for row in rows if isinstance(row, Sized)})
    said = (str(error).splitlines() or [type(error).__name__])[0]
    what = f"is not an array of numbers ({said[:200]})"
    if len(lengths) > 1:
        what = f"has rows of {lengths[0]} to {lengths[-1]} values"
    return DataError(f"{name} {what}.", f"Give {name.name} as numbers in equal rows, each of the same length.")


def _no_number(value: Any, where: str, name: str) -> DataError:
    if isinstance(value, complex | np.complexfloating):
        return DataError(f"{where} is a complex number, {short(value)}.", f"Give {name} as real numbers.")
    if hasattr(type(value), "__len__") and not isinstance(value, str | bytes):
        return DataError(
            f"{where} holds a {type(value).__name__}.",
            f"Give {name} as numbers in equal rows, each of the same length.",
        )
    text = value.item() if isinstance(value, np.generic) else value
    what = "the text " if isinstance(text, str) else ""
    return DataError(
        f"{where} is {what}{short(text)}, not a number.",
        f"Give {name} as numbers: numpy.asarray({name}, dtype=float) makes them of texts that are some; encode or drop "
        "others.",
    )


def _other_kind(array: np.ndarray, name: Called) -> DataError:
    kind = array.dtype.kind
    if kind == "c":
        return DataError(f"{name} holds complex numbers ({array.dtype}).", f"Give {name.name} as real numbers.")
    if kind in "US" and array.size:
        first = next((index for index in np.ndindex(array.shape) if not _reads(array[index])), (0,) * array.ndim)
        return _no_number(array[first], name.at(first), name.name)
    return DataError(f"{name} holds values of type {array.dtype}.", f"Give {name.name} as real numbers.")


def _reads(text: Any) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _require_told_apart(array: np.ndarray, name: Called) -> None:
    """Refuse whole numbers beyond 2^53 of which two that differ become one number of float64."""
    if not array.ndim or not array.size or max(abs(int(array.max())), abs(int(array.min()))) <= 2**53:
        return
    rows = np.sort(array, axis=0)
    try:
        numbers = rows.astype(np.float64)
    except OverflowError:  # said where the numbers are made
        return
    lost = np.argwhere((rows[1:] != rows[:-1]) & (numbers[1:] == numbers[:-1]))
    if len(lost):
        k, *column = (int(i) for i in lost[0])
        low, high = (int(rows[(i, *column)]) for i in (k, k + 1))
        where = f"{name}[:, {column[0]}]" if len(column) == 1 else str(name)
        raise DataError(
            f"{where} has the whole numbers {low} and {high}, which float64 does not tell apart.",
            f"Subtract what they have in common first, such as {low}, or leave the column out if it is an identifier.",
        )
