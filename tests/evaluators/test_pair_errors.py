import numpy as np
import pytest
import torch
from landmark_streams import WIDTH, discovery, make_stream

from anatomark.evaluators.pair_errors import (
    FrameStack,
    all_pairs,
    left_right_transforms,
    no_transforms,
    pair_errors,
    salient_transforms,
    stack_frames,
    summarise,
)


def random_stack(n: int, seed: int) -> FrameStack:
    """Frames whose landmarks have nothing to do with their annotations."""
    rng = np.random.default_rng(seed)
    frames = discovery()(make_stream(n, seed=seed)).frames
    stack = stack_frames(frames, ("csp", "lv"))
    noise = torch.from_numpy(rng.normal(scale=8, size=stack.landmarks.shape))
    return stack._replace(landmarks=stack.landmarks + noise, hc_axis=stack.hc_axis * (1 + torch.rand(n)))


def complex_errors(stack: FrameStack) -> np.ndarray:
    """The paper's transform with complex numbers: z -> a f(z) + b, where f mirrors x if the order differs."""
    truth, marks = (t[..., 0].numpy() + 1j * t[..., 1].numpy() for t in (stack.truth, stack.landmarks))
    rows = []
    for j in range(len(truth)):
        for i in range(j + 1, len(truth)):
            (c, d), (ct, dt) = marks[i], marks[j]
            mirrored = np.sign((c - d).real) != np.sign((ct - dt).real)

            def f(z: complex, mirrored: bool = mirrored) -> complex:
                return WIDTH - 1 - np.conj(z) if mirrored else z

            a = (dt - ct) / (f(d) - f(c))
            carried = a * (f(truth[i]) - f(c)) + ct
            rows.append(100 * abs(carried - truth[j]) / float(stack.hc_axis[j]))
    return np.array(rows)


@pytest.mark.parametrize("seed", range(4))
def test_salient_errors_equal_the_complex_formula(seed: int) -> None:
    stack = random_stack(7, seed)
    pairs = all_pairs(7)
    errors = pair_errors(salient_transforms(stack, pairs), stack, pairs)
    np.testing.assert_allclose(errors.numpy(), complex_errors(stack), rtol=1e-9)


def test_all_unique_pairs_with_the_later_frame_as_source() -> None:
    pairs = all_pairs(89)
    assert pairs.shape == (2, 3916)
    assert (pairs[0] > pairs[1]).all()
    assert len(set(map(tuple, pairs.T.tolist()))) == 3916
    assert all_pairs(1).shape == (2, 0)


def test_similar_heads_with_true_landmarks_register_exactly() -> None:
    stack = random_stack(6, 0)
    stack = stack._replace(landmarks=stack.truth[:, :2])
    pairs = all_pairs(6)
    errors = pair_errors(salient_transforms(stack, pairs), stack, pairs)
    assert errors[:, :2].max() < 1e-9
    # Annotations are float32, which the head centre inherits.
    assert errors.max() < 1e-3


def test_no_transform_of_identical_poses_has_no_error() -> None:
    stack = random_stack(3, 1)
    same = FrameStack(*(t[:1].expand(3, *t.shape[1:]) for t in stack))
    assert pair_errors(no_transforms(all_pairs(3)), same, all_pairs(3)).abs().max() == 0


def test_left_right_mirrors_exactly_the_pairs_that_face_apart() -> None:
    stack = random_stack(8, 2)
    pairs = all_pairs(8)
    faces_left = stack.truth[:, 0, 0] < stack.truth[:, 1, 0]
    mirrored = left_right_transforms(stack, pairs)[:, 0, 0] == -1
    assert torch.equal(mirrored, faces_left[pairs[0]] != faces_left[pairs[1]])
    assert 0 < mirrored.sum() < len(mirrored)


def test_left_right_undoes_a_mirrored_copy() -> None:
    stack = random_stack(2, 3)
    truth = stack.truth[:1].repeat(2, 1, 1)
    truth[1, :, 0] = WIDTH - 1 - truth[1, :, 0]
    mirrored = stack._replace(truth=truth)
    assert pair_errors(left_right_transforms(mirrored, all_pairs(2)), mirrored, all_pairs(2)).max() < 1e-9


def test_errors_are_relative_to_the_targets_axis() -> None:
    stack = random_stack(4, 0)
    pairs = all_pairs(4)
    errors = pair_errors(no_transforms(pairs), stack, pairs)
    longer = stack._replace(hc_axis=stack.hc_axis * torch.tensor([1.0, 1.0, 1.0, 2.0]))
    halved = torch.where(pairs[1] == 3, 0.5, 1.0)[:, None]
    torch.testing.assert_close(pair_errors(no_transforms(pairs), longer, pairs), errors * halved)


def test_summary_has_the_standard_error_of_the_mean() -> None:
    errors = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]], dtype=torch.float64)
    summary = summarise(errors, ("csp", "lv"))
    assert summary["csp"] == {"mean": pytest.approx(4), "se": pytest.approx((13 / 3) ** 0.5), "n": 3}
    assert summary["lv"] == {"mean": 5.0, "se": 0.0, "n": 3}
    assert summarise(errors[:1], ("csp", "lv"))["csp"] == {"mean": 1.0, "se": None, "n": 1}
    assert summarise(errors[:0], ("csp", "lv"))["csp"] == {"mean": None, "se": None, "n": 0}
