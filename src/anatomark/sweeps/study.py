"""The study of a sweep: where it is stored, and whether it is the one that the command line asks for."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from anatomark.errors import AnatomarkError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

PRUNED_AT = "pruned_at_epoch"  # user attribute of a trial whose job was stopped; null while it goes on
_JUDGED = "hopeless_after"  # user attribute of a trial: step -> what the pruner said of it
_SPACE, _WORDS, _FOLDS = "search_space", "fixed_words", "folds"
_JOURNAL = "journal://"
# Keys that say how a sweep is run, not what its trials are.
_HOW = ("sweep", "launcher", "hydra", "debug")
_LOCK_SECONDS = 60.0  # how long a job waits for a SQLite file that others write to


def open_storage(url: str) -> BaseStorage:
    """Opens ``journal://FILE``, for folders shared over a network, or any database URL that Optuna takes.

    Raises:
        AnatomarkError: nothing can be stored there.
    """
    with storage_errors(url):
        if url.startswith(_JOURNAL):
            return JournalStorage(JournalFileBackend(url.removeprefix(_JOURNAL)))
        waits = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}
        return RDBStorage(url, engine_kwargs=waits)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Says which storage failed.

    Raises:
        AnatomarkError: in place of what its driver raised.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    except (StorageInternalError, sa.exc.SQLAlchemyError, ImportError, OSError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise AnatomarkError(
            f"hydra.sweeper.storage={_without_password(url)} cannot be used ({reason}); start its server, install its"
            " driver, or leave the key out for a file in the sweep folder"
        ) from error


def _without_password(url: str) -> str:
    try:
        return sa.engine.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return url.split("://", 1)[0]


def create_study(
    storage: BaseStorage,
    name: str,
    *,
    maximize: bool,
    space: Mapping[str, BaseDistribution],
    words: Sequence[str],
    folds: Sequence[int],
) -> Study:
    """Creates the study, or goes on with the one that is stored under its name.

    Args:
        storage: see :func:`open_storage`.
        name: of the study.
        maximize: whether more is better.
        space: what each parameter is drawn from.
        words: words of the command line that every trial shares.
        folds: that every trial trains.

    Raises:
        AnatomarkError: the stored study searches something else.
    """
    direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
    study = optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True)
    wanted = {
        _SPACE: {key: json.loads(distribution_to_json(drawn)) for key, drawn in sorted(space.items())},
        _WORDS: sorted(word for word in words if re.split(r"[=./@]", word.lstrip("+~"))[0] not in _HOW),
        _FOLDS: list(folds),
    }
    attributes = study.user_attrs
    if not study.get_trials(deepcopy=False) and not attributes:
        for key, value in wanted.items():
            study.set_user_attr(key, value)
        return study
    other = _differences(attributes, wanted)
    if study.direction is not direction:
        other = [*other, "monitor_mode"]
    if attributes.get(_FOLDS, []) != wanted[_FOLDS]:
        other = [*other, "sweep.folds"]
    if other:
        raise AnatomarkError(
            f"study {name} is stored already and searches something else ({', '.join(other)} differ); give the words it"
            " was started with, or another hydra.sweep.dir or hydra.sweeper.study_name"
        )
    return study


def _differences(stored: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    old, new = stored.get(_SPACE), wanted[_SPACE]
    if not isinstance(old, dict) or not isinstance(new, dict):
        return ["search space"]
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    before, now = stored.get(_WORDS), wanted[_WORDS]
    if isinstance(before, list) and isinstance(now, list):
        changed += sorted({word.split("=", 1)[0] for word in set(before) ^ set(now)} - set(changed))
    return changed


def is_hopeless(study: Study, pruner: "BasePruner", trial_id: int, step: int) -> bool:
    """Whether a pruner ends a trial after a step, such as an epoch, that was reported to the study.

    Where a killed sweep had come further, what the pruner said then counts: Hyperband judges every step only once.
    """
    trial = study._storage.get_trial(trial_id)
    judged: dict[str, bool] = trial.user_attrs.get(_JUDGED, {})
    if str(step) not in judged:
        judged = {**judged, str(step): bool(pruner.prune(study, trial))}
        study._storage.set_trial_user_attr(trial_id, _JUDGED, judged)
    return judged[str(step)]


def judged_hopeless(trial: FrozenTrial, *, before: int) -> int | None:
    """The first step at which a pruner ended a trial, of those before a step; None where there is none."""
    judged: dict[str, bool] = trial.user_attrs.get(_JUDGED, {})
    return min((int(step) for step, hopeless in judged.items() if hopeless and int(step) < before), default=None)
