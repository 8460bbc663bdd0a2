import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anatomark.report.figures import (
    AnnotatedFrame,
    LandmarkPanel,
    RegistrationPanel,
    draw_error_distribution,
    draw_landmark_grid,
    draw_registration_grid,
)


def render(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def landmark_panel() -> LandmarkPanel:
    saliency = np.zeros((4, 6), dtype=np.float32)
    saliency[1, 2] = 0.25
    return LandmarkPanel(
        title="f0",
        image=np.full((32, 48), 90, dtype=np.uint8),
        saliency=saliency,
        landmarks={"csp": (19.5, 11.5)},
        truth={"csp": (20.0, 12.0), "lv": (30.0, 20.0)},
        others=[(3.0, 4.0), (40.0, 9.0)],
    )


def test_landmark_grid_overlays_the_map_on_the_frame_and_labels_landmarks() -> None:
    figure = draw_landmark_grid([landmark_panel(), landmark_panel()], ["csp", "lv"])
    assert len(figure.axes) == 6
    overlay = figure.axes[2].images[1]
    # The map covers the whole frame, pixel edges included, and is opaque only where it is salient.
    assert overlay.get_extent() == [-0.5, 47.5, 31.5, -0.5]
    assert np.asarray(overlay.get_alpha()).argmax() == 1 * 6 + 2
    assert np.asarray(overlay.get_alpha()).max() == pytest.approx(0.75)
    assert [text.get_text() for text in figure.axes[4].texts] == ["csp"]
    assert render(figure).std() > 0


def frame(shift: int) -> AnnotatedFrame:
    image = np.zeros((20, 30), dtype=np.uint8)
    image[8:12, 5 + shift : 9 + shift] = 200
    turn = np.linspace(0, 2 * np.pi, 9)
    outline = np.stack([10 + shift + 6 * np.cos(turn), 10 + 4 * np.sin(turn)], axis=1)
    return AnnotatedFrame(image=image, centres={"csp": (6.5 + shift, 9.5)}, outline=outline)


def test_registration_grid_carries_image_centre_and_outline() -> None:
    source, target = frame(0), frame(7)
    matrix = np.array([[1.0, 0.0, 7.0], [0.0, 1.0, 0.0]])
    panel = RegistrationPanel(title="pair", source=source, target=target, matrix=matrix)
    figure = draw_registration_grid([panel], ["csp"])
    top, middle, before, after = figure.axes
    np.testing.assert_array_equal(top.images[0].get_array(), target.image)
    np.testing.assert_array_equal(middle.images[0].get_array(), source.image)
    np.testing.assert_array_equal(before.images[0].get_array(), source.image)
    np.testing.assert_array_equal(after.images[0].get_array(), target.image)
    their_outline, their_centre, our_outline, our_centre = (line.get_xydata() for line in after.lines)
    np.testing.assert_allclose(our_outline, their_outline)
    np.testing.assert_allclose(our_centre, their_centre)
    assert not np.allclose(before.lines[3].get_xydata(), their_centre)
    assert render(figure).std() > 0


def test_error_distribution_rises_to_the_share_of_pairs() -> None:
    errors = {"csp": {"none": np.array([4.0, 1.0, 3.0, 2.0]), "sift": np.zeros(0), "salient": np.array([0.5, 0.7])}}
    figure = draw_error_distribution(errors, title="TV", unit="%")
    line, sift, salient = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(line.get_ydata(), [0.25, 0.5, 0.75, 1])
    assert len(sift.get_xdata()) == 0
    np.testing.assert_array_equal(salient.get_ydata(), [0.5, 1])
    assert render(figure).std() > 0
