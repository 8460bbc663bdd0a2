"""Rows of a table by frame, kept once for all frames: a tensor for each row would take many times their memory."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor


class FrameRows:
    """The named rows of every frame.

    Args:
        table: with the columns frame_id and name.
        columns: of numbers, the content of a row.
    """

    def __init__(self, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
        codes, ids = pd.factorize(table["frame_id"])
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(ids))).tolist()
        self._spans = {str(key): span for key, span in zip(ids, zip([0, *ends], ends, strict=False), strict=True)}
        self._names = tuple(sys.intern(name) for name in table["name"].iloc[order])
        self._values = torch.from_numpy(table[list(columns)].to_numpy(np.float32)[order])

    def of(self, frame: str) -> Mapping[str, Float[Tensor, "c"]]:
        """The rows of a frame, name -> numbers; empty where it has none."""
        span = self._spans.get(frame)
        return NO_ROWS if span is None else _NamedRows(self._names, self._values, *span)


NO_ROWS: Mapping[str, Tensor] = {}


class _NamedRows(Mapping[str, Tensor]):
    """Part of a table; makes the tensor of a row when it is asked for."""

    __slots__ = ("_names", "_start", "_stop", "_values")

    def __init__(self, names: tuple[str, ...], values: Tensor, start: int, stop: int) -> None:
        self._names, self._values, self._start, self._stop = names, values, start, stop

    def __getitem__(self, name: str) -> Tensor:
        for row in range(self._start, self._stop):
            if self._names[row] == name:
                return self._values[row].clone()  # of its own: who changes it changes no other frame
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names[self._start : self._stop])

    def __len__(self) -> int:
        return self._stop - self._start

    def __reduce__(self) -> tuple[Any, ...]:
        rows = slice(self._start, self._stop)
        return _NamedRows, (self._names[rows], self._values[rows].clone(), 0, len(self))  # without the other frames'
