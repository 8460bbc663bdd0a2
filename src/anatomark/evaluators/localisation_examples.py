"""Which frames the picture of a localisation shows."""

from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

from jaxtyping import Float
from torch import Tensor

from anatomark.evaluators.localisation_frames import Target
from anatomark.report.box_figures import BoxPanel

MISCLASSIFIED = "misclassified"
_WITHOUT_CLASS = "frames"


class Examples:
    """Keeps some frames of every class and some misclassified ones.

    They are chosen by a checksum of their key: a random draw that neither results nor the order of frames can sway.

    Args:
        n: frames of a class; 0 for none.
    """

    def __init__(self, *, n: int) -> None:
        self.n = n
        self._kept: dict[str, list[tuple[int, str, float, BoxPanel]]] = defaultdict(list)

    def offer(self, target: Target, frame_map: Float[Tensor, "h w"], box: Float[Tensor, "4"], iou: float) -> None:
        """Keeps a frame if it is among those drawn so far.

        Args:
            target: the frame.
            frame_map: its map, at the size of the frame that boxes are annotated in; negative outside a polar frame's
                sector.
            box: the box of the map, px of the frame that boxes are annotated in.
            iou: its IoU with the true box.
        """
        key = target.sample["key"]
        draw = crc32(key.encode())
        kept = self._kept[_group(target)]
        if not self.n or (len(kept) == self.n and (draw, key) >= kept[-1][:2]):
            return
        kept.append((draw, key, iou, _panel(target, frame_map, box, iou)))
        kept.sort(key=lambda entry: entry[:2])
        del kept[self.n :]

    def rows(self, classes: Sequence[str]) -> dict[str, list[BoxPanel]]:
        """Class -> its frames by falling IoU, misclassified ones last (Toussaint et al. 2018, figure 4).

        Args:
            classes: order of the classes.
        """
        order = [*classes, _WITHOUT_CLASS, MISCLASSIFIED]
        return {
            name: [entry[3] for entry in sorted(self._kept[name], key=lambda entry: (-entry[2], entry[1]))]
            for name in order
            if self._kept.get(name)
        }


def _group(target: Target) -> str:
    if target.taken_for is not None:
        return MISCLASSIFIED
    return target.class_name or _WITHOUT_CLASS


def _panel(target: Target, frame_map: Float[Tensor, "h w"], box: Float[Tensor, "4"], iou: float) -> BoxPanel:
    mistake = [] if target.taken_for is None else [f"{target.class_name} taken for {target.taken_for}"]
    return BoxPanel(
        title="\n".join([target.sample["key"], *mistake, f"IoU {iou:.2f}"]),
        image=target.frame["image"].float().mean(0).cpu().numpy(),
        saliency=frame_map.clamp(min=0).cpu().numpy(),
        truth=target.box.tolist(),
        predicted=box.tolist(),
        structures={name: other.tolist() for name, other in target.structures.items() if other is not target.box},
    )
