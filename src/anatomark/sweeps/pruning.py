"""A trial's job tells its study how it gets on, and stops where the study's pruner sees no hope."""

from typing import TYPE_CHECKING

import optuna
import pytorch_lightning as pl
from optuna.study import Study

from anatomark.sweeps.study import PRUNED_AT, is_hopeless, judged_hopeless, open_storage, storage_errors

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class TrialPruning(pl.Callback):
    """Reports the monitored metric after every epoch, and ends the training where the pruner says so.

    Args:
        storage: URL of the study's storage.
        study: its name.
        trial: number of the trial.
        pruner: one of Optuna's.
        monitor: the metric.
    """

    def __init__(self, *, storage: str, study: str, trial: int, pruner: "BasePruner", monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.pruned = False
        self._url = storage
        with storage_errors(storage):
            self._storage = open_storage(storage)
            self._study: Study = optuna.load_study(study_name=study, storage=self._storage, pruner=pruner)
            study_id = self._storage.get_study_id_from_name(study)
            self._trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Goes by how an earlier, killed job of the trial got on up to the epoch that this one goes on from.

        A job killed between the pruner's word and its own end has the checkpoint of its last epoch, and trains no more.
        """
        with storage_errors(self._url):
            epoch = judged_hopeless(self._storage.get_trial(self._trial_id), before=trainer.current_epoch)
            self._storage.set_trial_user_attr(self._trial_id, PRUNED_AT, epoch)
        if epoch is not None:
            self.pruned = trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports, asks the pruner, and remembers in the study that the trial is pruned."""
        epoch, value = trainer.current_epoch, trainer.callback_metrics.get(self.monitor)
        if value is None:  # of another phase of the training
            return
        with storage_errors(self._url):
            self._storage.set_trial_intermediate_value(self._trial_id, epoch, float(value))
            last = trainer.max_epochs is not None and epoch + 1 >= trainer.max_epochs
            if not last and is_hopeless(self._study, self._study.pruner, self._trial_id, epoch):
                self._storage.set_trial_user_attr(self._trial_id, PRUNED_AT, epoch)
                self.pruned = trainer.should_stop = True
