"""Evaluator: does the map box the anatomy? (Toussaint et al. 2018, table 1 and figure 4)"""

from collections.abc import Iterator, Sequence
from typing import Literal

from anatomark.evaluators.localisation_examples import Examples
from anatomark.evaluators.localisation_frames import HEADLINE, Target, TargetReader
from anatomark.evaluators.localisation_measure import measure
from anatomark.evaluators.localisation_report import build_tables, describe_conventions
from anatomark.evaluators.localisation_rules import BoxRules
from anatomark.evaluators.localisation_values import Found, summarise
from anatomark.evaluators.polar_frames import Sizes, frame_sizes
from anatomark.report.box_figures import draw_boxes
from anatomark.types import AnatomarkError, Pairs, Report


class LocalisationEvaluator:
    """Turns each frame's main map into a box and compares it with the annotated one.

    The map is brought to the size of the image and to [0, 1]; then come the box of the pixels above a threshold,
    MaxBoxAcc (Choe et al. 2020), which asks how good the best fixed threshold would have been, and the pointing game
    (Zhang et al. 2018), which asks whether the maximum lies inside. One run tries the rules of both papers, with all
    parts of the mask and the largest, on the network's own maps, those that other methods made with it, such as
    Grad-CAM, and, as the control, a Gaussian at the middle of the image, which has not seen it. Where there is a map
    per class, that of the most probable class localises; ``gt_known`` asks that of the true class instead, which no
    classification error can mislead.

    A frame that was made polar is compared where it was annotated: what is above the threshold of the polar map is
    boxed in the frame before. (The upright box around the outline of a box on the polar map would be far too large:
    that of the true region itself has an IoU of only .50 on the fetal_regions phantom.) Frames without a true box are
    skipped and counted.

    Args:
        threshold: of the box that heads the report: "median" for 1.3 times the map's median, the rule of Toussaint et
            al. 2018 to the letter; "contrast" for 30 % of the way from the median to the maximum, which does not depend
            on where the map's zero lies; "mean" for its mean (Zhu et al. 2017); or a fraction of its maximum.
        component: of that box: "all" boxes everything above the threshold, "largest" only its largest connected part.
        target: name of the box that is the truth; "union" for the box around all of a frame's boxes; None for its only
            box.
        exclude: boxes that show no target, such as the outline of the whole section.
        classes: class names in the order of labels; without them there are no numbers per class.
        n_fractions: thresholds that MaxBoxAcc tries: i / n_fractions of the maximum, i from 0.
        batch_size: frames at once.
        n_examples: frames of each class in the picture; 0 for no picture.

    Raises:
        AnatomarkError: an option is out of range.
    """

    splits = ("test",)

    def __init__(
        self,
        *,
        threshold: Literal["contrast", "median", "mean"] | float = "contrast",
        component: Literal["all", "largest"] = "all",
        target: str | None = None,
        exclude: Sequence[str] = (),
        classes: Sequence[str] = (),
        n_fractions: int = 20,
        batch_size: int = 16,
        n_examples: int = 5,
    ) -> None:
        self.rules = BoxRules(threshold=threshold, component=component, n_fractions=n_fractions)
        self.reader = TargetReader(target=target, exclude=tuple(exclude), classes=tuple(classes))
        self.threshold = threshold
        self.batch_size = batch_size
        self.n_examples = n_examples

    def __call__(self, pairs: Pairs) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: frames with a map that covers the image.

        Raises:
            AnatomarkError: no frame has the box, a frame has several and ``target`` names none, a class without name,
                a map that does not cover its image or belongs to no class.
        """
        found: list[Found] = []
        examples = Examples(n=self.n_examples)
        n_skipped = 0
        for batch in self._batches(pairs):
            targets = [target for target in batch if target is not None]
            n_skipped += len(batch) - len(targets)
            found += self._measure(targets, examples) if targets else []
        if not found:
            raise AnatomarkError(
                f"no test frame to localise in: {n_skipped} came, none with {self.reader.expected}; annotate some in"
                " boxes.csv"
            )
        values = {
            "n_skipped": n_skipped,
            "rule": self.rules.headline,
            **summarise(found, self.rules),
            "conventions": describe_conventions(self.rules, target=self.reader.expected),
        }
        rows = examples.rows(self.reader.classes)
        return Report(
            name="localisation",
            title="Localisation",
            values=values,
            tables=build_tables(values),
            figures={"Predicted and annotated boxes": draw_boxes(rows)} if rows else {},
        )

    def _batches(self, pairs: Pairs) -> Iterator[list[Target | None]]:
        """Yields batches of frames of one size; None for a frame without the box."""
        sizes: Sizes | None = None
        batch: list[Target | None] = []
        for sample, prediction in pairs:
            if batch and (frame_sizes(sample) != sizes or len(batch) == self.batch_size):
                yield batch
                batch = []
            sizes = frame_sizes(sample)
            batch.append(self.reader.read(sample, prediction))
        if batch:
            yield batch

    def _measure(self, targets: Sequence[Target], examples: Examples) -> list[Found]:
        headline = self.rules.names.index(self.rules.headline)
        found = []
        for target, measured in zip(targets, measure(targets, self.rules), strict=True):
            iou = float(measured.localised[HEADLINE].rules[headline])
            examples.offer(target, measured.frame_map, measured.boxes[headline], iou)
            found.append(
                Found(
                    key=target.sample["key"],
                    subject=target.sample["subject"],
                    run=target.prediction.get("run", "run"),
                    class_name=target.class_name,
                    localised=measured.localised,
                )
            )
        return found
