"""OSIE, in a miniature copy of its layout and for real."""

import math

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from refusal import refused
from scipy.io import savemat

from anatomark.data.frames import FrameDataset
from anatomark.data.sources.osie import Osie


def write_osie(root, pictures):
    for folder in ("eye", "stimuli"):
        (root / "data" / folder).mkdir(parents=True)
    entries = []
    for name, viewers in pictures.items():
        iio.imwrite(root / "data" / "stimuli" / name, np.zeros((600, 800, 3), np.uint8))
        fields = ("fix_x", "fix_y", "fix_duration")
        subjects = [dict(zip(fields, np.array(rows, float).reshape(-1, 3).T, strict=True)) for rows in viewers]
        entries.append({"img": name, "subjects": subjects})
    savemat(root / "data" / "eye" / "fixations.mat", {"fixations": entries})
    return root


@pytest.mark.parametrize("n_pictures", [1, 2])
def test_osie_pictures_are_subjects_and_viewers_are_viewings(tmp_path, n_pictures):
    viewers = [[[10, 20, 100], [30, 40, 200]], [[50.5, 60, 300]], []]
    root = write_osie(tmp_path / "set", {f"{1002 - n}.png": viewers for n in range(n_pictures)})
    records = Osie(root=root)()
    assert [r.key for r in records] == [r.subject for r in records] == ["1001", "1002"][2 - n_pictures :]
    rows = [viewing.tolist() for viewing in records[0].viewings]
    assert rows == [[[10, 20, 100], [30, 40, 200]], [[50.5, 60, 300]]]
    assert FrameDataset(records)[0]["image"].shape == (1, 600, 800)


def test_osie_fixations_off_the_picture_or_without_duration_are_left_out(tmp_path):
    good = [[0, 0, 10], [799.9, 599.9, 20]]
    bad = [[-0.1, 5, 30], [5, -1, 30], [800, 5, 30], [5, 600, 30], [5, 5, 0]]
    root = write_osie(tmp_path / "set", {"1001.png": [bad[:2] + good + bad[2:], bad]})
    (viewing,) = Osie(root=root)()[0].viewings
    torch.testing.assert_close(viewing, torch.tensor(good, dtype=torch.float32))


def test_osie_folder_that_is_not_one(tmp_path):
    assert "expected OSIE's folder with data/eye/fixations.mat" in refused(Osie(root=tmp_path))
    root = write_osie(tmp_path / "set", {"1001.png": [[[1, 2, 3]]]})
    (root / "data" / "stimuli" / "1001.png").unlink()
    assert "holds none of the pictures" in refused(Osie(root=root))
    table = root / "data" / "eye" / "fixations.mat"
    for content in (b"", b"no mat file", table.read_bytes()[:200]):
        table.write_bytes(content)
        assert "fixations.mat is not OSIE's table of fixations" in refused(Osie(root=root))
    for wrong in ({"other": 1}, {"fixations": 1}, {"fixations": [{"img": "1001.png"}]}):
        savemat(table, wrong)
        assert "fixations.mat is not OSIE's table of fixations" in refused(Osie(root=root))


@pytest.mark.real_data
def test_real_osie(data_dir):
    records = Osie(root=data_dir / "osie")()
    assert len(records) == len({record.subject for record in records}) == 117
    assert {len(record.viewings) for record in records} == {15}
    rows = torch.cat([viewing for record in records for viewing in record.viewings])
    assert len(rows) == 16550
    assert math.isclose(rows[:, 2].min(), 20)
    # People look at the middle of photographs.
    assert rows[:, :2].mean(0).tolist() == pytest.approx([400, 300], abs=60)
    assert FrameDataset(records)[0]["image"].shape == (1, 600, 800)
