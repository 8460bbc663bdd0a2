"""Evaluates rows: predicts the frames that the evaluators of a row need, and runs them on the pooled folds."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from anatomark.data.frames import FrameRecord
from anatomark.data.splits import SPLITS
from anatomark.evaluation.comparison import ComparedRow, compare
from anatomark.evaluation.rows import Part, Row
from anatomark.evaluation.shared_frames import SharedFrames
from anatomark.evaluators.maps import main_map
from anatomark.instantiation import chosen, instantiate, make_trainer
from anatomark.predictions import PooledPredictions, PredictionWriter, RunPredictions
from anatomark.report.map_figures import attention_map, draw_map_grid
from anatomark.report.writer import name_data_set
from anatomark.runs import display_path, load_model
from anatomark.subjects import check_subjects
from anatomark.types import AnatomarkError, Prediction, Report, Sample

log = logging.getLogger(__name__)

_N_EXAMPLES, _EXAMPLE_SEED = 6, 0


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """What was found for a row.

    Attributes:
        name: the row.
        data_set: what was measured.
        reports: evaluator -> report.
        folds: fold -> its test subjects.
        test_keys: ids of all test frames or volumes.
        examples: some test frames with the row's predictions, by key, where the row is scored against gaze.
        labels: names of their classes, empty where there are none.
        attention: measured attention of the examples, where the row is scored against gaze.
    """

    name: str
    data_set: str
    reports: Mapping[str, Report]
    folds: Mapping[int, Sequence[str]]
    test_keys: frozenset[str]
    examples: Mapping[str, tuple[Sample, Prediction]]
    labels: Mapping[str, str]
    attention: Sequence[Tensor]


def evaluate_rows(rows: Sequence[Row]) -> list[RowResult]:
    """Evaluates rows, which must test the same frames.

    Raises:
        AnatomarkError: they do not, or nothing is to be evaluated.
    """
    shared = SharedFrames()
    results: list[RowResult] = []
    for row in rows:
        results.append(evaluate_row(row, shared, results[0] if results else None))
    return results


def evaluate_row(row: Row, shared: SharedFrames, first: RowResult | None = None) -> RowResult:
    """Evaluates one row.

    Args:
        row: the row.
        shared: the frames of all rows.
        first: the result that it will be compared with.

    Raises:
        AnatomarkError: the row tests other frames than ``first``, or nothing is to be evaluated.
    """
    evaluators = make_evaluators(row.parts[0].config)
    predicted = _ordered(split for evaluator in evaluators.values() for split in evaluator.splits)
    sampled = _ordered(split for evaluator in evaluators.values() for split in sample_splits(evaluator))
    modules = [shared.module(part.config.data) for part in row.parts]
    for part, module in zip(row.parts, modules, strict=True):
        check_subjects(part.folder, module.source.name, module.records)
    folds = {part.fold: module.records["test"] for part, module in zip(row.parts, modules, strict=True)}
    test = [record for module in modules for record in module.records["test"]]
    frames = frozenset(record.key for record in test)
    if first is not None and frames != first.test_keys:
        raise AnatomarkError(
            f"row {row.name!r} tests other frames than {first.name!r}, such as {min(frames ^ first.test_keys)};"
            " compare rows of one data set, with one data.split_seed and data.n_folds"
        )
    streams = [predict(part, shared, predicted, sampled) for part in row.parts]
    data_set = ", ".join(dict.fromkeys(stream.data_set for stream in streams))
    log.info("evaluating %s on %s: %s", row.name, data_set, ", ".join(evaluators))
    reports = {
        name: evaluator(PooledPredictions(streams, splits=evaluator.splits, sample_splits=sample_splits(evaluator)))
        for name, evaluator in evaluators.items()
    }
    gaze = evaluators.get("saliency")
    watched = [record for record in test if isinstance(record, FrameRecord)] if gaze else []
    examples = PooledPredictions(streams, splits=predicted).find(choose_examples(watched), "test")
    return RowResult(
        name=row.name,
        data_set=data_set,
        reports=reports,
        folds={fold: sorted({record.subject for record in records}) for fold, records in folds.items()},
        test_keys=frames,
        examples=examples,
        labels={record.key: str(record.label or "") for record in watched if record.key in examples},
        attention=[attention_map(s, sigma=gaze.sigma, weighting=gaze.weighting) for s, _ in examples.values() if gaze],
    )


def make_evaluators(cfg: DictConfig) -> dict[str, Any]:
    """The evaluators of a configuration by name, but for those that its model says cannot apply to it.

    Raises:
        AnatomarkError: none is left.
    """
    named = chosen(cfg.get("evaluator"))
    skipped = [name for name in cfg.get("skip_evaluators") or [] if name in named]
    if len(skipped) == len(named):
        reason = f"{', '.join(skipped)} cannot apply to {cfg.choices.model}" if skipped else "the data set names none"
        other = "classification" if "saliency" in skipped else "saliency"
        raise AnatomarkError(f"nothing to evaluate: {reason}; add evaluator=[{other}], say")
    if skipped:
        log.info("not evaluated, as it cannot apply to %s: %s", cfg.choices.model, ", ".join(skipped))
    return {name: instantiate(node) for name, node in named.items() if name not in skipped}


def compare_results(
    results: Sequence[RowResult], *, reference: str | None, paper: Mapping[str, Mapping[str, Sequence[float]]] | None
) -> list[Report]:
    """The reports of one row as they are, those of several merged evaluator by evaluator.

    Args:
        results: the rows.
        reference: the row that all others are tested against; None for the first.
        paper: evaluator -> row -> the paper's numbers.

    Raises:
        AnatomarkError: ``reference`` is no row, or the rows cannot be compared.
    """
    data_set = ", ".join(dict.fromkeys(result.data_set for result in results))
    if len(results) == 1:
        return [name_data_set(report, data_set) for report in results[0].reports.values()]
    names = [result.name for result in results]
    if reference is not None and reference not in names:
        raise AnatomarkError(
            f"reference={reference} is no row; choose one of {', '.join(names)}, or null for the first"
        )
    reports = []
    for evaluator in dict.fromkeys(name for result in results for name in result.reports):
        rows = [
            ComparedRow(name=result.name, report=result.reports[evaluator], folds=result.folds)
            for result in results
            if evaluator in result.reports
        ]
        report = compare(rows, reference=reference or names[0], published=(paper or {}).get(evaluator) or {})
        if evaluator == "saliency":
            report.figures.update(draw_examples([result for result in results if evaluator in result.reports]))
        reports.append(name_data_set(report, data_set))
    return reports


def draw_examples(results: Sequence[RowResult]) -> dict[str, Any]:
    """The maps of all rows for the same frames, beside the measured attention (Cai et al. 2018, figure 2)."""
    first = results[0]
    samples = [sample for sample, _ in first.examples.values()]
    if not samples:
        return {}
    maps = {r.name: [main_map(sample, prediction) for sample, prediction in r.examples.values()] for r in results}
    labels = [first.labels[key] for key in first.examples]
    return {"Attention maps of the same frames": draw_map_grid(samples, first.attention, maps, labels)}


def sample_splits(evaluator: Any) -> Sequence[str]:
    """Splits whose samples an evaluator wants without predictions."""
    splits: Sequence[str] = getattr(evaluator, "sample_splits", ())
    return splits


def predict(part: Part, shared: SharedFrames, predicted: Sequence[str], sampled: Sequence[str]) -> RunPredictions:
    """Predicts some splits with one run and writes the predictions into its folder.

    Args:
        part: the run with its checkpoint.
        shared: where its frames are.
        predicted: splits to predict.
        sampled: splits to stream without predictions.

    Returns:
        The samples of all these splits with their predictions.
    """
    model = load_model(part.config, part.folder, part.checkpoint)
    writer = PredictionWriter(folder=part.folder / "predictions" / (part.checkpoint or "as_built"))
    options = {key: part.config.trainer[key] for key in ("accelerator", "precision", "enable_progress_bar")}
    datamodule = shared.module(part.config.data)
    trainer = make_trainer(options, devices=1, logger=False, callbacks=[writer])
    datamodule.predict_splits = predicted
    trainer.predict(model, datamodule=datamodule, return_predictions=False)
    return RunPredictions(
        dataset=shared.dataset(part.config.data, _ordered([*predicted, *sampled])),
        folder=writer.folder,
        run=display_path(part.folder),
        data_set=datamodule.source.name,
    )


def choose_examples(records: Sequence[FrameRecord]) -> list[str]:
    """Draws frames for a picture, as many of each class as there are; only those somebody looked at, if any."""
    watched = [record for record in records if record.viewings] or list(records)
    classes = sorted({str(record.label) for record in watched})
    draw = np.random.default_rng(_EXAMPLE_SEED)
    shown: list[str] = []
    for number, name in enumerate(classes):
        keys = sorted(record.key for record in watched if str(record.label) == name)
        share = len(range(number, _N_EXAMPLES, len(classes)))
        shown += draw.permutation(keys)[:share].tolist()
    return shown


def _ordered(splits: Iterable[str]) -> list[str]:
    wanted = set(splits)
    return [split for split in SPLITS if split in wanted]
