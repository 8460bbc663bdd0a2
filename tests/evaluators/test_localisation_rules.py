"""The rule that heads the report, alone."""

import pytest
import torch

from anatomark.evaluators.localisation_rules import BoxRules


@pytest.mark.parametrize("component", ["all", "largest"])
@pytest.mark.parametrize("threshold", ["contrast", "median", "mean", 0.8])
def test_headline_box_is_that_of_all_rules(threshold, component):
    rows, columns = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    wide = torch.exp(-((rows - 14) ** 2 + (columns - 17) ** 2) / torch.tensor([150.0, 100.0])[:, None, None])
    maps = wide + 0.95 * torch.exp(-((rows - 25) ** 2 + (columns - 36) ** 2) / 4)
    in_frame = maps.clone()
    in_frame[:, :, :2] = -1  # part of what the threshold is made of lies beside the frame
    rules = BoxRules(threshold=threshold, component=component, n_fractions=4)

    every = dict(zip(rules.names, rules.boxes(maps, in_frame).unbind(1), strict=True))

    headline = rules.headline_box(maps, in_frame)
    assert torch.equal(headline, every.pop(rules.headline))
    assert len(every) == (7 if threshold == 0.8 else 5)
    assert not any(torch.equal(headline, boxes) for boxes in every.values())
