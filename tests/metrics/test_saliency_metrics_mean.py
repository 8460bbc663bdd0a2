"""Saliency metrics over batches: means over frames, then over subjects."""

import pytest
import torch
from saliency_cases import H, W, make_case

from anatomark.metrics.auc import auc_judd
from anatomark.metrics.saliency import SaliencyMetrics, cc, ig, kld, nss, sim, upsample
from anatomark.types import AnatomarkError


class TestSaliencyMetrics:
    def frames(self):
        maps, target, fixations = make_case("random", seed=2)
        fixations[3, :, 2] = 0
        return maps, target, fixations, ["a", "b", "b", "c"]

    def expected(self):
        maps, target, fixations, _ = self.frames()
        scores = {
            "nss": nss(maps, fixations),
            "kld": kld(maps, target),
            "cc": cc(maps, target),
            "sim": sim(maps, target),
            "auc_judd": auc_judd(maps, fixations),
            "ig_uniform": ig(maps, fixations, torch.ones(H, W).double()),
        }
        return {name: (v[0] + (v[1] + v[2]) / 2) / 2 for name, v in scores.items()} | {
            "n_frames": torch.tensor(3),
            "n_skipped": torch.tensor(1),
        }

    def test_averages_frames_then_subjects(self):
        metric = SaliencyMetrics()
        metric.update(*self.frames())
        torch.testing.assert_close(metric.compute(), self.expected())

    def test_split_over_batches_and_ranks(self):
        ranks = []
        maps, target, fixations, subjects = self.frames()
        for rows in ([0, 1], [2, 3]):
            ranks.append(SaliencyMetrics())
            for i in rows:
                ranks[-1].update(maps[[i]], target[[i]], fixations[[i]], [subjects[i]])
        # What a synchronisation across processes does with the states.
        merged = SaliencyMetrics()
        for rank in ranks:
            merged.values += rank.values
            merged.groups += rank.groups
            merged.n_skipped = merged.n_skipped + rank.n_skipped
            merged._update_count = 1
        torch.testing.assert_close(merged.compute(), self.expected())

    def test_small_maps_are_scored_at_the_resolution_of_the_target(self):
        maps, target, fixations, subjects = self.frames()
        small, full = SaliencyMetrics(), SaliencyMetrics()
        small.update(maps[:, ::3, ::5], target, fixations, subjects)
        full.update(upsample(maps[:, ::3, ::5], (H, W)), target, fixations, subjects)
        torch.testing.assert_close(small.compute(), full.compute())

    def test_reset_forgets(self):
        metric = SaliencyMetrics()
        metric.update(*self.frames())
        metric.reset()
        metric.update(*self.frames())
        torch.testing.assert_close(metric.compute(), self.expected())

    def test_nothing_to_score_is_an_error(self):
        metric = SaliencyMetrics()
        maps, target, fixations, subjects = self.frames()
        metric.update(maps, target, torch.zeros_like(fixations), subjects)
        with pytest.raises(AnatomarkError, match="none of 4 frames"):
            metric.compute()
