"""Training frames need their gaze, unless told otherwise; and the ablation gives them another's."""

from pathlib import Path

import pytest
import torch
from datamodule_fixture import module, ready, record

from anatomark.data.frames import FrameRecord
from anatomark.data.training_gaze import check_gaze, shuffle_gaze
from anatomark.types import AnatomarkError

LOOKED = (torch.tensor([[1.0, 2.0, 100.0]]),)
NOTHING = (torch.zeros(0, 3),)


def frame(key, viewings, subject="s", clip=None, size=(40, 32)):
    return FrameRecord(key=key, subject=subject, file=Path(), viewings=viewings, clip=clip, size=size)


def test_frames_without_recorded_gaze_are_counted_and_the_first_named():
    with pytest.raises(AnatomarkError) as caught:
        check_gaze([frame("a", LOOKED), frame("b", ()), frame("c", ())])
    assert "2 of 3 training frames have no recorded gaze, the first is b" in str(caught.value)
    assert "data.allow_missing_gaze=true" in str(caught.value)


def test_frame_with_nothing_fixated_is_good_but_a_whole_clip_is_not():
    check_gaze([frame("a", LOOKED, clip="1"), frame("b", NOTHING, clip="1")])
    with pytest.raises(AnatomarkError, match="clip 2 has gaze, but no fixation in any"):
        check_gaze([frame("a", LOOKED, clip="1"), frame("b", NOTHING, clip="2"), frame("c", NOTHING, clip="2")])
    check_gaze([frame("a", LOOKED), frame("b", NOTHING)])  # where there are no clips, subjects
    with pytest.raises(AnatomarkError, match="subject t has gaze, but no fixation in any"):
        check_gaze([frame("a", LOOKED), frame("b", NOTHING, subject="t")])


def test_clip_watched_beside_its_frames_only_is_refused():
    """The frames were shown elsewhere on the screen than data.source.gaze.screen says."""
    beside = tuple(torch.tensor([[x, y, 100.0]]) for x, y in ((-0.6, 2.0), (39.6, 2.0), (3.0, 31.5)))
    with pytest.raises(AnatomarkError, match=r"clip 2 has gaze, but every fixation lies beside.*frame_origin_px"):
        check_gaze([frame("a", LOOKED, clip="1"), frame("b", beside, clip="2"), frame("c", NOTHING, clip="2")])
    edge = (torch.tensor([[-0.5, 31.4, 100.0]]),)
    check_gaze([frame("b", beside, clip="2"), frame("c", edge, clip="2")])


def test_only_training_frames_need_gaze_and_not_if_it_may_be_missing(tmp_path):
    frames = [record(tmp_path, key, split="train", viewings=LOOKED) for key in "ab"]
    frames += [record(tmp_path, "c", split="test"), record(tmp_path, "d", split="val")]
    data = ready(frames, allow_missing_gaze=False)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        assert len(list(loader)) == 1
    frames.append(record(tmp_path, "e", split="train"))
    with pytest.raises(AnatomarkError, match="1 of 3 training frames have no recorded gaze, the first is e"):
        ready(frames, allow_missing_gaze=False).train_dataloader()
    (batch,) = ready(frames, allow_missing_gaze=True).train_dataloader()
    assert {s["key"]: seen for s, seen in zip(batch["samples"], batch["has_gaze"].tolist(), strict=True)} == {
        "a": True,
        "b": True,
        "e": False,
    }


def test_shuffled_gaze_is_anothers_and_everyones_once():
    frames = [frame(str(n), (torch.tensor([[float(n), n, n]]),)) for n in range(30)]
    for seed in range(20):
        given = [int(one.viewings[0][0, 2]) for one in shuffle_gaze(frames, seed=seed)]
        assert sorted(given) == list(range(30))
        assert all(own != other for own, other in enumerate(given))
    again = [int(one.viewings[0][0, 2]) for one in shuffle_gaze(frames, seed=19)]
    assert again == given
    assert given != [int(one.viewings[0][0, 2]) for one in shuffle_gaze(frames, seed=0)]


def test_shuffled_gaze_keeps_its_place_relative_to_the_frame(tmp_path):
    corner = (torch.tensor([[39.5, 31.5, 7.0], [19.5, 15.5, 8.0]]),)  # the outer corner of a 40 x 32 frame, its middle
    small = frame("small", corner)
    large = record(tmp_path, "large", viewings=(torch.tensor([[9.5, -0.5, 9.0]]),))
    large = FrameRecord(key="large", subject="t", file=large.file, viewings=large.viewings)  # size from the file
    doubled = frame("doubled", large.viewings, size=(80, 96))
    ours, theirs = shuffle_gaze([small, doubled], seed=0)
    assert theirs.viewings[0].tolist() == [[79.5, 95.5, 7.0], [39.5, 47.5, 8.0]]
    assert ours.viewings[0].tolist() == [[4.5, -0.5, 9.0]]
    assert shuffle_gaze([small, large], seed=0)[0].viewings[0].tolist() == [[9.5, -0.5, 9.0]]


def test_frames_without_gaze_stay_without():
    frames = [frame("a", LOOKED), frame("b", ()), frame("c", NOTHING)]
    a, b, c = shuffle_gaze(frames, seed=0)
    assert (a.viewings[0].shape, b.viewings, c.viewings[0].shape) == ((0, 3), (), (1, 3))
    with pytest.raises(AnatomarkError, match=r"data.shuffle_gaze needs two training frames with gaze, and there are 1"):
        shuffle_gaze(frames[:2], seed=0)


def test_shuffling_reaches_training_only(tiny_frames):
    options = {"val_fraction": 0, "batch_size": 8}
    plain, shuffled = (ready(tiny_frames, shuffle_gaze=value, **options) for value in (False, True))
    (batch,) = shuffled.train_dataloader()
    true = {s["key"]: s["fixations"] for s in plain.evaluation_dataset(["train"])}
    for sample in batch["samples"]:
        assert not torch.equal(sample["fixations"], true[sample["key"]])
    assert len({str(sample["fixations"]) for sample in batch["samples"]}) == 8
    for splits in (["train"], ["test"]):
        for own, other in zip(plain.evaluation_dataset(splits), shuffled.evaluation_dataset(splits), strict=True):
            assert torch.equal(own["fixations"], other["fixations"])
    other_seed = module(tiny_frames, shuffle_gaze=True, **options)
    torch.manual_seed(5)  # the training seed changes nothing
    other_seed.setup()
    (again,) = other_seed.train_dataloader()
    given = {s["key"]: s["fixations"] for s in batch["samples"]}
    assert all(torch.equal(s["fixations"], given[s["key"]]) for s in again["samples"])
