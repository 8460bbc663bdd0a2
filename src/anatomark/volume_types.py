"""The contracts between volumes, the models that find a structure in them and the evaluators of what was found.

Points are LPS mm, (x, y, z); voxels are indexed (k, j, i). The splits of one-shot learning are those of frames: "train"
is the reference, "val" the validation volume, "test" the targets.
"""

from typing import NotRequired, TypedDict

from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.geometry.volumes import Volume

Landmarks = dict[str, Float[Tensor, "3"]]
"""Name -> (x, y, z), LPS mm, ``float64``."""


class VolumeSample(TypedDict):
    """One volume with its annotations.

    Attributes:
        key: unique id of the volume.
        subject: id of the person scanned; splits never share one.
        volume: what networks see: cubic voxels, intensities in [0, 1].
        original: the same intensities on the grid of the file, for registration.
        split: "train", "val" or "test".
        mask: the structure of interest on the grid of ``volume``, 0 and 1.
        landmarks: annotated points.
        second_rater: the same points by somebody else.
    """

    key: str
    subject: str
    volume: Volume
    original: Volume
    split: str
    mask: NotRequired[Volume]
    landmarks: NotRequired[Landmarks]
    second_rater: NotRequired[Landmarks]


class VolumeBatch(TypedDict):
    """Volumes to find the structure in.

    Attributes:
        volumes: the volumes.
        reference: the annotated one that they are brought into line with.
    """

    volumes: list[VolumeSample]
    reference: VolumeSample


class VolumePrediction(TypedDict):
    """Where a model finds the structure in one volume (Wang et al. 2021, section 2.3).

    Attributes:
        key: the volume's id, equal to its sample's.
        found: whether the structure was found; the fields that are not always there are absent where it was not.
        centres_mm: the start, then the centre after each round.
        masses_mm3: the probability summed over the structure that each round found, in mm^3.
        seconds: stage -> its duration: "start", "localisation", "inertia".
        maps: probability of the structure in the aligned patch, the product of the three slice directions.
        affine: voxels (i, j, k) of the aligned patch -> LPS mm.
        pose: rigid; LPS mm of the reference -> LPS mm of this volume.
        sign_scores: correlation of the intensities with the reference's for each of the four rotations that bring the
            principal axes into line, in [-1, 1]; the pose has the best.
        ambiguous: whether two principal moments are so alike that their axes may be exchanged.
        run: the run whose network made this prediction.
    """

    key: str
    found: Bool[Tensor, ""]
    centres_mm: Float[Tensor, "s 3"]
    masses_mm3: Float[Tensor, "r"]
    seconds: dict[str, Float[Tensor, ""]]
    maps: NotRequired[Float[Tensor, "1 k j i"]]
    affine: NotRequired[Float[Tensor, "4 4"]]
    pose: NotRequired[Float[Tensor, "4 4"]]
    sign_scores: NotRequired[Float[Tensor, "4"]]
    ambiguous: NotRequired[Bool[Tensor, ""]]
    run: NotRequired[str]
