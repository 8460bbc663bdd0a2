"""Saliency metrics against plain NumPy transcriptions of their definitions, scikit-learn and SciPy."""

import math

import numpy as np
import pytest
import torch
from saliency_cases import CASES, H, W, make_case
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from anatomark.geometry.fixations import has_fixation
from anatomark.metrics.auc import auc_borji, auc_judd, auc_shuffled
from anatomark.metrics.saliency import cc, fixation_scores, ig, kld, nss, sim, upsample

EPS = 2.2204e-16


def fixated(fixations):
    """(row, column) of each weighted fixation inside the image."""
    cells = [(math.floor(y + 0.5), math.floor(x + 0.5)) for x, y, d in fixations if d > 0]
    return [(r, c) for r, c in cells if 0 <= r < H and 0 <= c < W]


def density(p):
    return p / p.sum() if p.sum() > 0 else np.full_like(p, 1 / p.size)


def numpy_nss(p, fixations):
    if p.max() == p.min():
        return 0.0
    return np.mean([(p[cell] - p.mean()) / p.std(ddof=1) for cell in fixated(fixations)])


def numpy_kld(p, q):
    p, q = density(p), density(q)
    return sum(q[cell] * math.log(EPS + q[cell] / (p[cell] + EPS)) for cell in np.ndindex(p.shape))


def numpy_cc(p, q):
    return 0.0 if p.max() == p.min() else pearsonr(p.ravel(), q.ravel()).statistic


def numpy_sim(p, q):
    return sum(min(a, b) for a, b in zip(density(p).ravel(), density(q).ravel(), strict=True))


def numpy_sim_min_max(p, q):
    p, q = ((m - m.min()) / (m.max() - m.min() or 1) for m in (p, q))
    return numpy_sim(p, q)


def numpy_ig(p, fixations, baseline):
    p, b = density(p), density(baseline)
    return np.mean([math.log2(p[cell] + EPS) - math.log2(b[cell] + EPS) for cell in fixated(fixations)])


def sklearn_auc(p, fixations):
    truth = np.zeros_like(p, dtype=int)
    for cell in fixated(fixations):
        truth[cell] = 1
    return roc_auc_score(truth.ravel(), p.ravel())


def numpy_auc_against(p, fixations, negatives):
    """Mean over fixations of the share of negatives below each, ties one half."""
    return np.mean([np.mean((negatives < p[cell]) + 0.5 * (negatives == p[cell])) for cell in fixated(fixations)])


@pytest.mark.parametrize("case", CASES)
def test_equals_the_transcriptions(case):
    maps, target, fixations = make_case(case)
    baseline = torch.tensor(np.random.default_rng(9).random((H, W)) + 1e-6)
    p, q, f, b = maps.numpy(), target.numpy(), fixations.numpy(), baseline.numpy()
    pairs = {
        "nss": (nss(maps, fixations), [numpy_nss(*x) for x in zip(p, f, strict=True)]),
        "cc": (cc(maps, target), [numpy_cc(*x) for x in zip(p, q, strict=True)]),
        "sim": (sim(maps, target), [numpy_sim(*x) for x in zip(p, q, strict=True)]),
        "sim mm": (sim(maps, target, min_max=True), [numpy_sim_min_max(*x) for x in zip(p, q, strict=True)]),
        "kld": (kld(maps, target), [numpy_kld(*x) for x in zip(p, q, strict=True)]),
        "ig": (ig(maps, fixations, baseline), [numpy_ig(*x, b) for x in zip(p, f, strict=True)]),
        "ig uniform": (
            fixation_scores(maps, fixations)["ig_uniform"],
            [numpy_ig(*x, np.ones((H, W))) for x in zip(p, f, strict=True)],
        ),
        "auc": (auc_judd(maps, fixations), [sklearn_auc(*x) for x in zip(p, f, strict=True)]),
    }
    for name, (ours, expected) in pairs.items():
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_areas_with_drawn_negatives_equal_the_transcription(case):
    maps, _, fixations = make_case(case)
    pool = torch.tensor(np.random.default_rng(7).uniform(-3, 28, (60, 3)))
    inside = np.array([r * W + c for r, c in fixated(pool.numpy())])

    def drawn(n):
        return torch.randint(n, (500,), generator=torch.Generator().manual_seed(3)).numpy()

    options = {"n_negatives": 500, "seed": 3}
    for ours, pixels in (
        (auc_borji(maps, fixations, **options), drawn(H * W)),
        (auc_shuffled(maps, fixations, pool, **options), inside[drawn(len(inside))]),
    ):
        expected = [
            numpy_auc_against(p, f, p.ravel()[pixels]) for p, f in zip(maps.numpy(), fixations.numpy(), strict=True)
        ]
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def all_scores(maps, target, fixations):
    pool = torch.tensor(np.random.default_rng(5).uniform(0, 15, (40, 3)))
    return torch.stack(
        [
            nss(maps, fixations),
            cc(maps, target),
            sim(maps, target),
            kld(maps, target),
            ig(maps, fixations, target[0]),
            auc_judd(maps, fixations),
            auc_borji(maps, fixations),
            auc_shuffled(maps, fixations, pool),
        ],
        1,
    )


@pytest.mark.parametrize("case", CASES)
def test_batched_equals_one_by_one_and_single_precision_agrees(case):
    maps, target, fixations = make_case(case)
    batched = all_scores(maps, target, fixations)
    for i in range(len(maps)):
        alone = torch.stack([all_scores(maps[[i]], target[[i]], fixations[[i]])[0]])
        # The baseline of ig is the first target of the call.
        alone[:, 4] = ig(maps[[i]], fixations[[i]], target[0])
        torch.testing.assert_close(alone[0], batched[i])
    single = all_scores(maps.float(), target.float(), fixations.float())
    torch.testing.assert_close(single.double(), batched, rtol=1e-4, atol=1e-5)


def test_flip_changes_nothing():
    maps, target, fixations = make_case("random")
    mirrored = fixations.clone()
    mirrored[..., 0] = W - 1 - fixations[..., 0]
    exact = [0, 1, 2, 3, 5]
    plain = all_scores(maps, target, fixations)[:, exact]
    torch.testing.assert_close(all_scores(maps.flip(-1), target.flip(-1), mirrored)[:, exact], plain)


def test_scale_and_shift():
    """NSS, CC and every AUC ignore gain and offset; KLD, SIM and IG ignore gain."""
    maps, target, fixations = make_case("random")
    plain, moved = all_scores(maps, target, fixations), all_scores(3 * maps + 1, target, fixations)
    torch.testing.assert_close(moved[:, [0, 1, 5, 6, 7]], plain[:, [0, 1, 5, 6, 7]])
    torch.testing.assert_close(all_scores(3 * maps, target, fixations), plain)


def test_perfect_prediction():
    _, target, _ = make_case("random")
    torch.testing.assert_close(kld(target, target), torch.zeros(4).double(), atol=1e-9, rtol=0)
    for score in (cc(target, target), sim(target, target)):
        torch.testing.assert_close(score, torch.ones(4).double())


def test_drawn_negatives_approach_the_exact_areas():
    maps, _, fixations = make_case("random", seed=3)
    cells = [fixated(f) for f in fixations.numpy()]
    # Borji's negatives are all pixels; shuffled ones here are the other frames' fixations.
    everywhere = [
        np.mean([np.mean((p < p[c]) + 0.5 * (p == p[c])) for c in at])
        for p, at in zip(maps.numpy(), cells, strict=True)
    ]
    np.testing.assert_allclose(auc_borji(maps, fixations, n_negatives=200_000), everywhere, atol=3e-3)
    pool = fixations[1:].flatten(0, 1)
    p = maps[0].numpy()
    others = np.array([p[c] for at in cells[1:] for c in at])
    expected = np.mean([np.mean((others < p[c]) + 0.5 * (others == p[c])) for c in cells[0]])
    got = auc_shuffled(maps[:1], fixations[:1], pool, n_negatives=200_000)
    np.testing.assert_allclose(got, [expected], atol=3e-3)


def test_draws_are_seeded():
    maps, _, fixations = make_case("random")
    same = [auc_borji(maps, fixations, seed=1, n_negatives=50) for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], auc_borji(maps, fixations, seed=2, n_negatives=50))


def test_shuffled_cancels_a_centre_bias_that_judd_rewards():
    y, x = torch.meshgrid(torch.arange(H).double(), torch.arange(W).double(), indexing="ij")
    centre = torch.exp(-((x - W / 2) ** 2 + (y - H / 2) ** 2) / 50)[None]
    rng = np.random.default_rng(0)
    gaze = np.column_stack([rng.normal(W / 2, 3, 600), rng.normal(H / 2, 3, 600), np.full(600, 100)])
    shown, others = torch.tensor(gaze[:300])[None], torch.tensor(gaze[300:])
    assert auc_judd(centre, shown)[0] > 0.8
    assert auc_shuffled(centre, shown, others)[0] == pytest.approx(0.5, abs=0.05)


def test_has_fixation_ignores_padding_and_what_lies_outside():
    rows = [
        [[3.0, 3, 0]],
        [[-0.6, 3, 100]],
        [[W - 0.5, 3, 100]],
        [[W - 0.51, H - 0.51, 100]],
        [[-0.5, -0.5, 1]],
    ]
    assert has_fixation(torch.tensor(rows), (H, W)).tolist() == [False, False, False, True, True]


def test_an_upsampled_constant_map_scores_zero():
    flat = upsample(torch.full((1, 3, 5), 0.3), (H, W))
    _, target, fixations = make_case("random")
    assert nss(flat, fixations[:1].float()).item() == 0
    assert cc(flat, target[:1].float()).item() == 0
