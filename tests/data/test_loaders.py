"""Worker processes draw the same in an epoch, however long they have lived."""

import gc

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from anatomark.data.loaders import make_loader


class Noise(Dataset):
    """Draws as a transform does; the index is kept to see the order."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index), *torch.rand(2).tolist()])


def loader(*, num_workers: int = 2, kept: bool = True) -> DataLoader:
    frames = Noise()
    options = {"batch_size": 3, "sampler": RandomSampler(frames), "persistent_workers": kept and num_workers > 0}
    return make_loader(frames, num_workers=num_workers, **options)


def epochs(count: int, **options: object) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Frames of each epoch, and the random state of the main process after it."""
    source, frames, states = loader(**options), [], []
    for _ in range(count):
        frames.append(torch.cat(list(source)))
        states.append(torch.get_rng_state())
    return frames, states


@pytest.mark.parametrize("kept", [True, False])
def test_a_resumed_epoch_draws_like_an_uninterrupted_one(kept: bool) -> None:
    torch.manual_seed(0)
    whole, states = epochs(3, kept=kept)
    torch.set_rng_state(states[1])
    (resumed,), (state,) = epochs(1, kept=kept)
    assert torch.equal(resumed, whole[2])
    assert torch.equal(state, states[2])


def test_kept_workers_draw_like_those_that_start_anew() -> None:
    torch.manual_seed(0)
    kept, _ = epochs(2)
    torch.manual_seed(0)
    anew, _ = epochs(2, kept=False)
    assert all(map(torch.equal, kept, anew))


def test_every_frame_of_every_epoch_is_drawn_for_anew() -> None:
    torch.manual_seed(0)
    (first, second), _ = epochs(2)
    drawn = torch.cat([first, second])[:, 1:]
    assert len(drawn.unique()) == drawn.numel()
    assert first[:, 0].sort().values.tolist() == list(range(12))
    assert not torch.equal(first[:, 0], second[:, 0])


def test_without_workers_it_is_an_ordinary_loader() -> None:
    torch.manual_seed(0)
    ours, _ = epochs(2, num_workers=0)
    torch.manual_seed(0)
    plain = DataLoader(Noise(), batch_size=3, shuffle=True)
    assert all(torch.equal(frames, torch.cat(list(plain))) for frames in ours)


class Hidden(Dataset):
    """How many objects the collector of the process that reads does not look at."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return gc.get_freeze_count()


def test_workers_leave_what_they_have_of_the_main_process_to_itself() -> None:
    before, objects = gc.get_freeze_count(), len(gc.get_objects())
    counts = torch.cat(list(make_loader(Hidden(), num_workers=2, batch_size=1)))
    assert (counts > before + objects / 2).all()
    assert gc.get_freeze_count() == before


class Keeping(Hidden):
    """Keeps a thousand objects of every epoch."""

    def __init__(self) -> None:
        self.kept: list[list[int]] = []

    def __getitem__(self, index: int) -> int:
        self.kept += [[index] for _ in range(1000)]
        return super().__getitem__(index)


def test_a_kept_worker_leaves_what_it_makes_itself_to_its_collector() -> None:
    loader = make_loader(Keeping(), num_workers=1, batch_size=1, persistent_workers=True)
    first, second = (int(torch.cat(list(loader)).max()) for _ in range(2))
    assert second < first + 1000
