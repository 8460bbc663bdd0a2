"""How well maps localise, whatever threshold makes boxes of them."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class BoxAccuracy(NamedTuple):
    """Share of frames whose box is good enough, at the best threshold.

    Attributes:
        value: the share.
        threshold: index of the lowest threshold that reaches it.
    """

    value: float
    threshold: int


def max_box_acc(iou: Float[Tensor, "n t"], delta: float) -> BoxAccuracy:
    """MaxBoxAcc (Choe et al. 2020, eq. 3): the largest share of frames that one threshold boxes with IoU >= delta.

    Args:
        iou: IoU of every frame's box at every threshold.
        delta: IoU from which a box counts.
    """
    share = (iou >= delta).double().mean(0)
    return BoxAccuracy(value=float(share.max()), threshold=int(share.argmax()))
