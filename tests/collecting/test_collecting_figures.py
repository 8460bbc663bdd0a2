"""The axes of parallel coordinates and the best so far, for known values."""

from itertools import pairwise
from pathlib import Path

import pytest

from anatomark.collecting.axes import make_scale
from anatomark.collecting.figures import best_so_far, draw_best_so_far, draw_figures, draw_parallel
from anatomark.collecting.jobs import read_sweep
from anatomark.collecting.ranking import rank
from sweep_fixture import config, write_failure, write_job, write_multirun


def test_numbers_lie_by_size_and_by_logarithm_where_they_spread_over_decades() -> None:
    near = make_scale([2, 4, 3.5])
    assert (near.heights, near.logarithmic) == (pytest.approx((0, 1, 0.75)), False)
    far = make_scale([1e-4, 1e-1, 1e-3])
    assert (far.heights, far.logarithmic) == (pytest.approx((0, 1, 1 / 3)), True)
    assert [text for _, text in far.ticks] == ["0.0001", "0.001", "0.1"]
    assert not make_scale([0, 1e-3, 10]).logarithmic  # zero has no logarithm
    assert make_scale([5]).heights == (0.5,)


def test_other_values_are_steps_in_the_order_of_their_appearance() -> None:
    scale = make_scale(["msen", None, True, "msen", [1, 2]])
    assert scale.heights == pytest.approx((0, 1 / 3, 2 / 3, 0, 1))
    assert [text for _, text in scale.ticks] == ["msen", "null", "true", "[1, 2]"]


@pytest.mark.parametrize("values", [[0.137 * n for n in range(1, 12)], [3.7e-5 * 2.9**n for n in range(12)]])
def test_many_values_get_few_ticks_that_rise(values: list[float]) -> None:
    scale = make_scale(values)
    heights = [height for height, _ in scale.ticks]
    assert 3 <= len(heights) <= 8
    assert heights[0] == pytest.approx(0, abs=1e-9)
    assert heights[-1] == pytest.approx(1)
    assert all(low < high for low, high in pairwise(heights))
    assert all(low < high for low, high in pairwise(scale.heights))
    assert 0 <= min(scale.heights) <= max(scale.heights) <= 1


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_multirun(tmp_path, "model.optimizer.lr=0.1,0.01,0.001,1,2")
    for number, (lr, kld, pruned) in enumerate([(0.1, 2.0, False), (0.01, 0.5, True), (0.001, 1.0, False)]):
        write_job(tmp_path / str(number), config(lr=lr), kld=(kld,), pruned=pruned)
    write_failure(tmp_path / "3", "no memory", words=["model.optimizer.lr=1"])
    write_job(tmp_path / "4", config(lr=2), kld=(1.5,))
    return tmp_path


def test_the_best_so_far_counts_finished_jobs(sweep: Path) -> None:
    found = read_sweep(sweep)
    ranking = rank(found, metric=None, mode=None)
    assert ranking is not None
    assert best_so_far(found, ranking) == ([0, 2, 4], [2.0, 1.0, 1.0])
    (axes,) = draw_best_so_far(found, ranking).axes
    points = {collection.get_label(): collection.get_offsets().tolist() for collection in axes.collections}
    assert points == {"finished": [[0, 2.0], [2, 1.0], [4, 1.5]], "pruned": [[1, 0.5]], "failed": [[3, 0.0]]}


def test_a_line_per_job_with_the_best_in_front(sweep: Path) -> None:
    found = read_sweep(sweep)
    ranking = rank(found, metric=None, mode=None)
    assert ranking is not None
    (axes,) = draw_parallel(found, ranking).axes
    ends = [line.get_path().vertices[[0, -1], 1].tolist() for line in axes.patches]
    lr, kld = make_scale([0.1, 0.01, 2, 0.001]).heights, make_scale([2.0, 0.5, 1.5, 1.0]).heights
    assert ends == [pytest.approx(pair) for pair in zip(lr, kld, strict=True)]  # the best, job 2, is the last
    assert [line.get_linestyle() for line in axes.patches] == ["-", "--", "-", "-"]
    assert len(draw_figures(found, ranking)) == 2
