"""Loaders whose random draws do not depend on how long their worker processes have lived."""

import gc
from typing import Any, TypeVar

import torch
from numpy.random import SeedSequence
from torch.utils.data import DataLoader, Dataset, get_worker_info

from anatomark.data.samplers import device_of

Item = TypeVar("Item")


def make_loader(dataset: Dataset[Item], *, num_workers: int, **options: Any) -> DataLoader[Item]:
    """A loader whose worker processes draw anew in every epoch from what the main process has drawn for it.

    Workers that are kept between epochs, for the frames that they have in memory, would else go on with their own
    random numbers, which no checkpoint knows: a resumed training would draw other augmentations than an uninterrupted
    one.

    Args:
        dataset: its transforms draw with torch.
        num_workers: worker processes; 0 for an ordinary loader.
        options: of the loader; a random order is drawn by ``sampler``, from the numbers of the main process.
    """
    if num_workers == 0:
        return DataLoader(dataset, **options)
    # Without a generator of its own, a loader draws a number of the main process whenever its workers start, and they
    # start once more in a run that is resumed.
    return _EpochLoader(_EpochSeeded(dataset), num_workers=num_workers, generator=torch.Generator(), **options)


class _EpochLoader(DataLoader[Item]):
    def __iter__(self) -> Any:
        assert isinstance(self.dataset, _EpochSeeded)
        self.dataset.draw_seed()
        return super().__iter__()


class _EpochSeeded(Dataset[Item]):
    """A data set whose worker processes seed themselves at their first frame of an epoch."""

    def __init__(self, dataset: Dataset[Item]) -> None:
        self.dataset = dataset
        self._device, _ = device_of()
        self._seed = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._seeded_with: int | None = None

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Item:
        worker, seed = get_worker_info(), int(self._seed)
        if worker is not None and seed != self._seeded_with:
            if self._seeded_with is None:
                # The collector would write to all that a worker has of the main process, and the worker so copy it.
                gc.freeze()
            # Devices draw the same seed, but other frames.
            (mixed,) = SeedSequence([seed, self._device, worker.id]).generate_state(1)
            torch.manual_seed(int(mixed))
            self._seeded_with = seed
        return self.dataset[index]

    def draw_seed(self) -> None:
        """Draws the seed of an epoch from the random numbers of the main process, whose state checkpoints keep."""
        self._seed.random_()
