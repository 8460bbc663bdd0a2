"""Which training frames are drawn, how often and in which order.

All draw from torch's global generator, so that a resumed run draws on as if it had not been interrupted.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, Sampler, SequentialSampler, WeightedRandomSampler

from anatomark.data.frames import FrameRecord
from anatomark.types import AnatomarkError


class StructureBalanced(WeightedRandomSampler):
    """Draws frames so that each structure is shown as often, with replacement.

    Frames that show the rarer structure are drawn more often, frames that show none not at all.

    Args:
        records: the training frames.
        structures: names of points or boxes.
        draws: frames per epoch; None: as many as there are.

    Raises:
        AnatomarkError: ``draws`` is below 1, or no frame shows a structure.
    """

    def __init__(self, records: Sequence[FrameRecord], *, structures: Sequence[str], draws: int | None = None) -> None:
        if draws is not None and draws < 1:
            raise AnatomarkError(f"data.sampling.draws is {draws}; make it at least 1, or null for all frames")
        if not structures:
            raise AnatomarkError("data.sampling.structures names none; name some, or set data.sampling=null")
        weights = structure_weights(records, structures)
        super().__init__(weights.tolist(), len(records) if draws is None else draws)


class ClassBalancedBatches(DistributedSampler[int]):
    """Draws frames so that every batch holds as many of each class (Cai et al. 2018: half plane, half background).

    A class is drawn without replacement until all its frames were, then shuffled anew; frames that the epoch had no
    room for do not wait for the next. Classes follow each other in turn, so that any number of frames in sequence that
    the number of classes divides is balanced.

    On several devices each takes every n-th batch of the same draw. Lightning would replace any sampler but this kind
    there, and the balance with it.

    Args:
        records: the training frames.
        batch_size: frames per batch of one device.
        batches: batches per epoch over all devices; None: as many as hold the number of frames, the last one filled.

    Raises:
        AnatomarkError: a frame has no class, there are fewer than two, or they cannot share a batch evenly.
    """

    def __init__(self, records: Sequence[FrameRecord], *, batch_size: int, batches: int | None = None) -> None:
        self.frames = _frames_by_class(records)
        if batch_size % len(self.frames):
            raise AnatomarkError(
                f"data.batch_size is {batch_size}, which {len(self.frames)} classes ({', '.join(self.frames)}) cannot"
                f" share evenly; make it a multiple of {len(self.frames)}"
            )
        if batches is not None and batches < 1:
            raise AnatomarkError(f"data.sampling.batches is {batches}; make it at least 1, or null for all frames")
        rank, n_ranks = device_of()
        super().__init__(records, num_replicas=n_ranks, rank=rank)  # type: ignore[arg-type]
        self.batch_size = batch_size
        wanted = -(-len(records) // batch_size) if batches is None else batches
        self.n_own_batches = -(-wanted // n_ranks)

    def __len__(self) -> int:
        return self.n_own_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        n_batches = self.n_own_batches * self.num_replicas
        per_class = n_batches * self.batch_size // len(self.frames)
        drawn = torch.stack([_shuffled(frames, per_class) for frames in self.frames.values()], dim=1)
        own = drawn.reshape(n_batches, self.batch_size)[self.rank :: self.num_replicas]
        return iter(own.flatten().tolist())


class ClassBalancedDraws(DistributedSampler[int]):
    """Draws frames with replacement so that every class is drawn as often on average (Toussaint et al. 2018).

    A frame's class is its label; what it shows besides does not count. On several devices each takes every n-th frame
    of the same draw, as in :class:`ClassBalancedBatches`.

    Args:
        records: the training frames.
        draws: frames per epoch over all devices; None: the median of the classes' frame counts, as in the authors'
            code, so that a learning rate that falls every few epochs falls early enough.

    Raises:
        AnatomarkError: a frame has no class, there are fewer than two, or ``draws`` is below 1.
    """

    def __init__(self, records: Sequence[FrameRecord], *, draws: int | None = None) -> None:
        if draws is not None and draws < 1:
            raise AnatomarkError(
                f"data.sampling.draws is {draws}; make it at least 1, or null for the median class count"
            )
        classes = _frames_by_class(records).values()
        rank, n_ranks = device_of()
        super().__init__(records, num_replicas=n_ranks, rank=rank)  # type: ignore[arg-type]
        self.weights = torch.zeros(len(records), dtype=torch.float64)
        for frames in classes:
            self.weights[frames] = 1 / len(frames)
        wanted = int(median(len(frames) for frames in classes)) if draws is None else draws
        self.n_own_draws = -(-wanted // n_ranks)

    def __len__(self) -> int:
        return self.n_own_draws

    def __iter__(self) -> Iterator[int]:
        drawn = torch.multinomial(self.weights, self.n_own_draws * self.num_replicas, replacement=True)
        return iter(drawn[self.rank :: self.num_replicas].tolist())


def structure_weights(records: Sequence[FrameRecord], structures: Sequence[str]) -> Float[Tensor, "n"]:
    """Weights of a draw: each structure has the same weight in total, shared by the frames that show it.

    Raises:
        AnatomarkError: no frame shows a structure.
    """
    weights = torch.zeros(len(records), dtype=torch.float64)
    rows = [[structure in record.points or structure in record.boxes for structure in structures] for record in records]
    for structure, shown in zip(structures, torch.tensor(rows).T, strict=True):
        if not shown.any():
            raise AnatomarkError(
                f"data.sampling.structures names {structure!r}, but no training frame has a point or box of that name;"
                " correct the name or remove it"
            )
        weights += shown / shown.sum()
    return weights


def in_order(dataset: Dataset[Any]) -> Sampler[int]:
    """Every frame once, in order; on several devices each takes every n-th, some one more than others.

    Lightning would give each as many by repeating frames, which would then count twice in the scores.

    Raises:
        AnatomarkError: a device would have none.
    """
    from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler

    (rank, n_ranks), n_frames = device_of(), len(dataset)  # type: ignore[arg-type]
    if n_ranks == 1:
        return SequentialSampler(dataset)  # type: ignore[arg-type]
    if n_frames < n_ranks:
        raise AnatomarkError(f"{n_frames} frames cannot be shared by {n_ranks} devices; use trainer.devices={n_frames}")
    return UnrepeatedDistributedSampler(dataset, num_replicas=n_ranks, rank=rank, shuffle=False)


def device_of() -> tuple[int, int]:
    """Which of how many devices draws."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _frames_by_class(records: Sequence[FrameRecord]) -> dict[str, Int[Tensor, "_"]]:
    """Indices of the frames of each class, ordered by the class's name."""
    frames: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        if record.label is None:
            raise AnatomarkError(
                f"training frame {record.key} has no class to balance; label it, or set data.sampling=null"
            )
        frames.setdefault(record.label, []).append(index)
    if len(frames) < 2:
        raise AnatomarkError(
            f"all training frames are of the class {', '.join(frames) or '?'}; data.sampling balances two or more"
        )
    return {name: torch.tensor(frames[name]) for name in sorted(frames)}


def _shuffled(values: Int[Tensor, "n"], count: int) -> Int[Tensor, "count"]:
    """``count`` of the values, each as often as the others up to one, shuffled anew each time they run out."""
    rounds = [values[torch.randperm(len(values))] for _ in range(-(-count // len(values)))]
    return torch.cat(rounds)[:count]
