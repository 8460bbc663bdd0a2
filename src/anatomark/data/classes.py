"""Classes of frames: the list that numbers them, and whether every frame and split keeps to it."""

from collections import Counter
from collections.abc import Sequence

from anatomark.data.frames import FrameRecord
from anatomark.types import AnatomarkError


def check_names(classes: Sequence[object]) -> None:
    """Refuses a list that names a class twice, or by a number.

    Raises:
        AnatomarkError: names the class.
    """
    unquoted = next((name for name in classes if not isinstance(name, str)), None)
    if unquoted is not None:
        raise AnatomarkError(
            f"data.classes lists {unquoted}, and names are text; quote it on the command line, such as"
            f" \"data.classes=['{unquoted}',other]\""
        )
    repeated = [name for name, count in Counter(classes).items() if count > 1]
    if repeated:
        raise AnatomarkError(f"data.classes lists {repeated[0]!r} twice; remove one")


def check_labels(records: Sequence[FrameRecord], classes: Sequence[str]) -> None:
    """Refuses a label, or another class of a frame, outside the list; an empty list takes any.

    Raises:
        AnatomarkError: names the first such frame, its label and the list.
    """
    for record in records if classes else ():
        names = record.also if record.label is None else (record.label, *record.also)
        unknown = next((name for name in names if name not in classes), None)
        if unknown is not None:
            raise AnatomarkError(
                f"frame {record.key} is labelled {unknown!r}, which is not one of data.classes"
                f" [{', '.join(classes)}]; correct the label or add the class"
            )


def check_classes(records: Sequence[FrameRecord], classes: Sequence[str], *, where: str) -> None:
    """Refuses a split that lacks a class.

    Raises:
        AnatomarkError: names ``where`` and the class.
    """
    present = {record.label for record in (records if classes else ())}
    absent = [name for name in classes if name not in present]
    if absent:
        raise AnatomarkError(
            f"the {where} has no frame of class {absent[0]!r}; take another data.split_seed, fewer data.n_folds, or"
            " remove the class"
        )
