"""When a phantom is written, what happens on failure, and that it is the same however it was made."""

import json

import pytest

from anatomark.phantoms.fetal_head import FetalHeadPhantom
from anatomark.types import AnatomarkError

OPTIONS = {"n_subjects": 2, "frames_per_subject": 2, "image_size": (112, 144), "seed": 5, "workers": 1}


def phantom(root, **options):
    return FetalHeadPhantom(root, **{**OPTIONS, **options})


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "fetal_head"
    return root, phantom(root)()


def test_records_read_back_are_those_that_were_made(written):
    root, records = written
    made = [frame for subject in range(2) for frame in phantom(root).make_subject(subject)]
    assert [r.key for r in records] == [f.record.key for f in made]
    for record, frame in zip(records, made, strict=True):
        truth = frame.record
        assert (record.subject, record.plane) == (truth.subject, truth.plane)
        assert record.spacing_mm == pytest.approx(truth.spacing_mm, rel=1e-5)
        assert record.size == (144, 112)
        assert set(record.points) == set(truth.points)
        for name, point in truth.points.items():
            assert record.points[name].numpy() == pytest.approx(point.numpy(), abs=1e-2)
        assert record.boxes["csp"].numpy() == pytest.approx(truth.boxes["csp"].numpy(), abs=1e-2)
        assert record.ellipse["semi_axes"].numpy() == pytest.approx(truth.ellipse["semi_axes"].numpy(), rel=1e-4)
        assert record.ellipse["angle"] == pytest.approx(truth.ellipse["angle"], abs=1e-4)
        assert record.frustum["half_angle"] == pytest.approx(truth.frustum["half_angle"], abs=1e-4)
        assert record.frustum["tilt"] == pytest.approx(truth.frustum["tilt"], abs=1e-4)
        assert sum(len(viewing) for viewing in record.viewings) >= 3


def test_second_use_reads_without_writing(written, monkeypatch):
    root, records = written
    monkeypatch.setattr(FetalHeadPhantom, "make_subject", lambda *_: pytest.fail("written again"))
    assert [r.key for r in phantom(root)()] == [r.key for r in records]


@pytest.mark.parametrize(
    ("change", "rewritten"), [({"seed": 6}, True), ({"n_subjects": 1}, True), ({"workers": 3}, False)]
)
def test_rewritten_only_when_the_files_would_change(written, tmp_path, change, rewritten):
    root = tmp_path / "copy"
    phantom(root, n_subjects=1 if "seed" in change else 2)()
    before = contents(root)
    phantom(root, **{"n_subjects": 1 if "seed" in change else 2, **change})()
    assert (contents(root) != before) == rewritten
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_same_seed_same_files_whatever_the_number_of_workers(written, tmp_path):
    root, _ = written
    phantom(tmp_path / "parallel", workers=2)()
    assert contents(tmp_path / "parallel") == contents(root)


def test_failure_leaves_nothing_behind_and_the_old_files_untouched(written, tmp_path, monkeypatch):
    root = tmp_path / "fetal_head"
    phantom(root, n_subjects=1)()
    before = contents(root)
    make = FetalHeadPhantom.make_subject

    def fail_at_second(self, subject):
        if subject == 1:
            raise OSError("disk full")
        return make(self, subject)

    monkeypatch.setattr(FetalHeadPhantom, "make_subject", fail_at_second)
    for target in (root, tmp_path / "new"):
        with pytest.raises(OSError, match="disk full"):
            phantom(target)()
    assert contents(root) == before
    assert [p.name for p in tmp_path.iterdir()] == ["fetal_head"]


def test_folder_of_something_else_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(AnatomarkError, match=r"not empty .* choose another root"):
        phantom(tmp_path)()
    (tmp_path / "phantom.json").write_text(json.dumps({"phantom": "another phantom"}))
    with pytest.raises(AnatomarkError, match="fetal_head phantom"):
        phantom(tmp_path)()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_description_names_the_parameters(written):
    root, _ = written
    found = json.loads((root / "phantom.json").read_text())
    assert found["phantom"] == "fetal_head phantom"
    assert found["parameters"]["n_subjects"] == 2
    assert found["parameters"]["image_size"] == [112, 144]
    assert len(found["sha256"]) == 64
