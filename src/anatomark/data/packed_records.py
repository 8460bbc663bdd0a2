"""Records of very many frames, in little memory that worker processes share."""

import pickle
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from anatomark.subjects import Record
from anatomark.types import AnatomarkError

AnyRecord = TypeVar("AnyRecord", bound=Record)


class PackedRecords(Sequence[AnyRecord]):
    """Records as one string of bytes; each is made anew, equal to the one packed, when it is asked for.

    Worker processes start with the memory of the main process and copy what they write to, and Python writes to every
    object that it as much as reads: it counts the references. In the course of an epoch each worker would copy all
    records.

    Args:
        records: the records; packed ones can be packed again. Each is packed with all that it holds, so that what
            frames share, such as a volume they are slices of, belongs into a file that they name.

    Raises:
        AnatomarkError: a record holds what cannot be packed, such as a lambda.
    """

    def __init__(self, records: Iterable[AnyRecord]) -> None:
        packed, ends = BytesIO(), [0]
        pickler = pickle.Pickler(packed)
        pickler.dispatch_table = {Tensor: _reduced}  # PyTorch's own way takes ten times as long and 300 bytes for each
        for record in records:
            pickler.clear_memo()  # a record refers to nothing in another
            try:
                pickler.dump(record)
            except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
                reason = " ".join(str(error).split())
                raise AnatomarkError(
                    f"frame {record.key} cannot be pickled ({reason}); make its record of values and of functions and"
                    " classes of a module, no lambdas or open files"
                ) from error
            ends.append(packed.tell())
        self._packed = packed.getvalue()
        self._ends = np.array(ends)  # a list would be copied like the records

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> AnyRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[AnyRecord]: ...
    def __getitem__(self, index: int | slice) -> AnyRecord | list[AnyRecord]:
        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        place = range(len(self))[index]
        record: AnyRecord = pickle.loads(memoryview(self._packed)[self._ends[place] : self._ends[place + 1]])
        return record


def _tensor(numbers: bytes, dtype: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytearray(numbers), dtype).reshape(shape))


def _reduced(tensor: Tensor) -> tuple[Any, ...]:
    array = tensor.detach().resolve_conj().numpy()
    return _tensor, (array.tobytes(), array.dtype.str, array.shape)
