"""The examinations of the fetal-regions phantom: which region is shown when, and for how long."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from anatomark.phantoms.regions_plan import CLASSES, LABELLED_FRAMES, plan_examination


def test_counts_are_as_unbalanced_as_in_the_paper():
    counts, total = Counter(), sum(LABELLED_FRAMES.values())
    for seed in range(20):
        visits = plan_examination(350, np.random.default_rng(seed))
        own = Counter(dict.fromkeys(CLASSES, 0))
        for before, visit in pairwise(visits):
            assert visit.first == before.first + before.n_frames
        for visit in visits:
            own[visit.label] += visit.n_frames
        assert own.total() == 350
        assert min(own.values()) >= 1
        counts += own
    for label, paper in LABELLED_FRAMES.items():
        assert counts[label] / 7000 == pytest.approx(paper / total, rel=0.2)
    assert 4 < counts["thorax"] / counts["spine"] < 7


@pytest.mark.parametrize("n_frames", [7, 8, 35, 5500])
def test_short_and_long_examinations_show_every_class(n_frames):
    visits = plan_examination(n_frames, np.random.default_rng(1))
    assert {visit.label for visit in visits} == set(CLASSES)
    assert sum(visit.n_frames for visit in visits) == n_frames
    assert max(visit.n_frames for visit in visits) < 40
    for i, visit in enumerate(visits):
        if visit.beside is not None:
            assert visit.beside == visits[i - 1 if visit.leaving else i + 1].label
            assert "background" not in (visit.label, visit.beside)
            assert visit.beside != visit.label
            assert {visit.label, visit.beside} != {"thorax", "abdomen"}
