"""The picture of the same frames under several methods."""

import torch

from anatomark.geometry.attention import render_map
from anatomark.report.map_figures import attention_map, draw_map_grid
from anatomark.types import Sample


def make_sample(key: str) -> Sample:
    return {
        "key": key,
        "subject": "s",
        "image": torch.rand(1, 32, 48),
        "spacing_mm": torch.ones(2),
        "fixations": torch.tensor([[10.0, 12.0, 200.0], [30.0, 20.0, 100.0]]),
    }


def test_one_row_per_frame_and_one_colour_scale_for_all() -> None:
    samples = [make_sample(key) for key in "ab"]
    truth = [attention_map(sample, sigma=4.0, weighting="equal") for sample in samples]
    weak, strong = torch.full((4, 6), 0.25), torch.ones(8, 12)
    figure = draw_map_grid(samples, truth, {"weak": [weak, weak], "strong": [strong, strong]}, ["plane", ""])
    *cells, bar = figure.axes
    assert len(cells) == 2 * 4
    assert [axes.get_title() for axes in cells[:4]] == ["frame", "measured attention", "weak", "strong"]
    assert [cells[0].get_ylabel(), cells[4].get_ylabel()] == ["a\nplane", "b"]
    shown = [axes.images[1] for axes in cells if len(axes.images) == 2]
    assert len(shown) == 6
    assert {image.get_clim() for image in shown} == {(0, 1)}
    assert float(shown[1].get_array().max()) == 0.25  # not stretched to its own maximum
    assert bar.get_ylim() == (0, 1)
    assert len({axes.get_xlim() for axes in cells}) == 1  # maps of any resolution cover the frame


def test_measured_attention_is_the_frames_own_map_else_that_of_its_fixations() -> None:
    sample = make_sample("a")
    expected = render_map(sample["fixations"][None], size=(32, 48), sigma=4.0, weighting="equal")[0]
    assert torch.equal(attention_map(sample, sigma=4.0, weighting="equal"), expected)
    assert not torch.equal(attention_map(sample, sigma=4.0, weighting="duration"), expected)
    given = torch.rand(1, 32, 48)
    assert torch.equal(attention_map({**sample, "attention": given}, sigma=4.0, weighting="equal"), given[0])
    del sample["fixations"]
    assert not attention_map(sample, sigma=4.0, weighting="equal").any()
