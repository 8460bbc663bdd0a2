"""One-shot landmarks from the command line: a folder of volumes, a run, a report."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anatomark.data.landmark_files import read_landmarks, write_landmarks
from anatomark.data.volumes import write_mask, write_volume
from anatomark.geometry.poses import rotations_from_angles
from anatomark.geometry.volumes import Volume, VolumeGeometry
from commands import Commands

SEMI_AXES = torch.tensor([7.0, 5.0, 3.5], dtype=torch.float64)
LANDMARKS = {"centre": (0.0, 0.0, 0.0), "tip": (5.0, 0.0, 0.0), "side": (0.0, 3.5, 0.0)}
# Where the structure lies, mm from the middle of the field, and how it is turned, radians; "empty" shows none.
PLACES = {
    "ref": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "valid": ((1.0, -1.0, 0.0), (0.1, 0.0, -0.1)),
    "near": ((3.0, 2.0, -2.0), (0.2, 0.0, 0.4)),
    "turned": ((-4.0, 1.0, 3.0), (0.3, -0.2, 2.6)),
    "empty": None,
}
SMALL = [
    *("model=shallow_unet", "data=volumes", "data.window=[0,1]", "data.scale=0.05", "data.augmentation=null"),
    *("wang.width=12", "wang.spacing_mm=1.0", "wang.patch_size=22", "data.batch_size=16", "data.steps=30"),
    *(
        "data.translation=4.0",
        "data.validation_steps=1",
        "model.optimizer.lr=0.05",
        "model.scheduler.gamma=0.5",
        "epochs=4",
    ),
    *("model.search.scan_stride=2", "model.search.sign_stride=1", "model.search.tolerance_mm=0.5"),
    *("trainer.enable_progress_bar=false", "trainer.precision=32-true"),
    *("evaluator.one_shot.spacing_mm=1.0", "evaluator.one_shot.margin_mm=4.0", "evaluator.one_shot.naive=false"),
    *("evaluator.one_shot.registration.shrink=[1]", "evaluator.one_shot.registration.sigmas_mm=[0.5]"),
    *("evaluator.one_shot.demons.shrink=[2,1]", "evaluator.one_shot.demons.iterations=[10,5]"),
]


def make_volume(place: tuple[tuple[float, ...], tuple[float, ...]] | None) -> tuple[Volume, Tensor, dict[str, Tensor]]:
    """A bright ellipsoid, brightest at its tip, in a dim field: the volume, its mask and its landmarks."""
    grid = VolumeGeometry(
        spacing_mm=(1, 1, 1), origin_mm=(-20, 10, 5), direction=((1, 0, 0), (0, 1, 0), (0, 0, 1)), size=(36, 34, 32)
    )
    k, j, i = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid.size[::-1]), indexing="ij")
    points = grid.to_mm(torch.stack([i, j, k], dim=-1))
    noise = 0.05 * torch.randn(k.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if place is None:
        return Volume(voxels=(0.15 + noise).float(), geometry=grid), torch.zeros(k.shape), {}
    shift, angles = (torch.tensor(values, dtype=torch.float64) for values in place)
    centre, rotation = grid.centre_mm + shift, rotations_from_angles(angles[None])[0]
    own = (points - centre) @ rotation / SEMI_AXES
    inside = own.square().sum(-1) <= 1
    shade = 0.7 + 0.2 * own[..., 0] + 0.1 * own[..., 1]
    volume = Volume(voxels=(torch.where(inside, shade, 0.15) + noise).clamp(0, 1).float(), geometry=grid)
    landmarks = {name: centre + rotation @ torch.tensor(p, dtype=torch.float64) for name, p in LANDMARKS.items()}
    return volume, inside.float(), landmarks


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("volumes")
    rows = []
    for key, place in PLACES.items():
        volume, inside, landmarks = make_volume(place)
        split = {"ref": "train", "valid": "val"}.get(key, "test")
        write_volume(root / f"{key}.nii.gz", volume)
        row = dict.fromkeys(("mask", "landmarks"), "") | {"volume_id": key, "subject_id": key, "split": split}
        if split != "test":
            write_mask(root / f"{key}_mask.nii.gz", Volume(voxels=inside, geometry=volume.geometry))
            row["mask"] = f"{key}_mask.nii.gz"
        if landmarks and key != "valid":
            write_landmarks(root / f"{key}.mrk.json", landmarks)
            row["landmarks"] = f"{key}.mrk.json"
        rows.append(row | {"file": f"{key}.nii.gz"})
    with (root / "volumes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_landmarks_of_one_volume_are_found_in_others(commands: Commands, volumes: Path) -> None:
    trained = commands("train.py", *SMALL, f"data.root={volumes}")
    assert trained.code == 0, trained.err
    (run,) = commands.runs()
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    ended = commands("evaluate.py", f"run={run}")
    assert ended.code == 0, ended.err
    report = json.loads((run / "report" / "one_shot.json").read_text())
    assert report["failed"] == ["empty"]
    assert set(report["volumes"]) == {"near", "turned"}
    assert report["overall_mean_mm"] < 1.0
    assert list(report["stages"]) == ["start", "localisation", "inertia", "rigid", "demons"]
    # A turned volume keeps its error until the axes turn it.
    assert report["stages"]["inertia"]["mean_mm"] < 0.5 * report["stages"]["localisation"]["mean_mm"]
    for key in ("near", "turned"):
        found = read_landmarks(run / "report" / "landmarks" / f"{key}.mrk.json")
        true = read_landmarks(volumes / f"{key}.mrk.json")
        distances = [float((found[name] - true[name]).norm()) for name in LANDMARKS]
        assert sum(distances) / 3 == pytest.approx(report["volumes"][key], abs=1e-3)
    assert len(list((run / "predictions" / "best").glob("*.npz"))) == 3

    scattering = "{_target_:anatomark.data.scattering.Scattering,field:1.5}"
    ended = commands("evaluate.py", f"run={run}", f"data.scattering={scattering}")
    assert ended.code == 0, ended.err
    scattered = json.loads((run / "report" / "one_shot.json").read_text())
    assert scattered["failed"] == ["empty"]
    assert scattered["overall_mean_mm"] < 1.0

    for command, *words in (("predict.py", f"input={volumes}"), ("export.py",)):
        ended = commands(command, f"run={run}", *words)
        assert ended.code == 1
        assert "was trained on volumes" in ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("data.reference=nobody", "nobody"),
        ("data.validation=ref", "ref"),
        ("model.search.init=middle", "init of the search is 'middle'"),
        ("data.window=[1,0]", "data.window"),
        ("wang.patch_size=8", "data.patch_size"),
    ],
)
def test_faults_are_one_line(commands: Commands, volumes: Path, word: str, says: str) -> None:
    words = [*SMALL, f"data.root={volumes}", word]
    ended = commands("train.py", *words)
    assert ended.code == 1
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert not list(commands.folder.rglob("*.ckpt"))
