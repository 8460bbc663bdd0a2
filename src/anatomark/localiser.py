"""A model as one graph, from frames to class scores, one map and the box found in it: what is exported."""

from jaxtyping import Float
from torch import Tensor, nn

from anatomark.evaluators.maps import fill_frame
from anatomark.geometry.boxes import contrast_boxes
from anatomark.metrics.saliency import stretch
from anatomark.models.base import BaseModel

FRAME = "frame"
"""The graph's only input: frames ``(b 1 h w)`` as the model sees them."""


class Localiser(nn.Module):
    """Frames to class scores, map and box, in one pass without test-time augmentation.

    Args:
        model: any model that sees the frame alone.
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frame: Float[Tensor, "b 1 height width"]) -> dict[str, Tensor]:
        """What the graph says.

        Returns:
            ``scores`` ``(b k)``, probabilities of the classes, where the model tells classes; ``map`` ``(b h w)``, the
            map of the most probable class brought to [0, 1], or the model's only map as it predicts it, interpolated
            to the size of the frame; ``box`` ``(b 4)``, x0 y0 x1 y1 px of the frame, see :func:`box_of`.
        """
        output = self.model(frame)
        cells = output.maps[:, 0]
        of_classes = output.maps.shape[1] > 1
        if of_classes:
            best = output.logits.argmax(1)[:, None, None, None].expand(-1, 1, *cells.shape[1:])
            cells = output.maps.gather(1, best)[:, 0]
        full = fill_frame(cells, stride=self.model.stride, size=(frame.shape[2], frame.shape[3]))
        located = {"map": stretch(full) if of_classes else full, "box": box_of(full)}
        return located if output.logits is None else {"scores": self.model.probabilities(output.logits), **located}


def box_of(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """The box of every map, as the localisation evaluator finds it by its defaults."""
    return contrast_boxes(stretch(maps))
