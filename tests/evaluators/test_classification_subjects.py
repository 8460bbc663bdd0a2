"""Classification by subject: counts add up, and are made in one pass."""

import numpy as np
from classification_stream import CLASSES, arrays, evaluate, make_stream
from sklearn import metrics as sk


def test_the_counts_of_subjects_add_up() -> None:
    stream = make_stream(80)
    values = evaluate(stream, positive="plane").values
    label, logits = arrays(stream)
    truth, called = label == 1, logits.argmax(1) == 1
    for i, subject in enumerate("abc"):
        tn, fp, fn, tp = sk.confusion_matrix(truth[i::3], called[i::3]).ravel()
        found = values["subjects"][subject]
        assert found == {
            "n": len(truth[i::3]),
            "correct": int((label == logits.argmax(1))[i::3].sum()),
            "classes": {
                name: {"n": (label[i::3] == k).sum(), "correct": ((label == k) & (logits.argmax(1) == k))[i::3].sum()}
                for k, name in enumerate(CLASSES)
            },
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "tn": tn,
        }


def test_many_subjects_are_counted_at_once_and_each_rightly() -> None:
    names = [f"s{number % 37}" for number in range(40)]
    stream = make_stream(400, subjects=names)
    subjects = evaluate(stream, positive="plane").values["subjects"]
    assert list(subjects) == list(dict.fromkeys(names))
    label, logits = arrays(stream)
    predicted = logits.argmax(1)
    of = np.array([sample["subject"] for sample, _ in stream])
    for name, found in subjects.items():
        counts = sk.confusion_matrix(label[of == name], predicted[of == name], labels=range(3))
        assert (found["n"], found["correct"]) == (counts.sum(), counts.trace())
        assert [(c["n"], c["correct"]) for c in found["classes"].values()] == [
            (counts[i].sum(), counts[i, i]) for i in range(3)
        ]
        assert [found[key] for key in ("tp", "fp", "fn", "tn")] == [
            counts[1, 1],
            counts[:, 1].sum() - counts[1, 1],
            counts[1].sum() - counts[1, 1],
            counts.sum() - counts[1].sum() - counts[:, 1].sum() + counts[1, 1],
        ]


def test_time_does_not_grow_with_frames_times_subjects() -> None:
    n_looks = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal n_looks
            n_looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    evaluate(make_stream(400, subjects=[Name(f"s{number}") for number in range(100)]))
    assert n_looks < 400 * 100 / 4
