"""What pruning saves: one sweep of the saliency model on a small phantom, without a pruner and with each.

The trials are drawn at random, so that all sweeps try the same ones: they differ in how long each is trained.

    python benchmarks/pruning.py [FOLDER]    # some 20 minutes; FOLDER is kept, and continued if stopped
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
from optuna.trial import TrialState

TRAIN = Path(__file__).parents[1] / "train.py"
N_TRIALS, N_EPOCHS = 12, 8
PRUNERS = ("none", "median", "hyperband")


def main() -> None:
    """Prints epochs and the best value of each sweep."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        epochs_without = None
        for pruner in PRUNERS:
            study = _sweep(folder, pruner)
            epochs = sum(len(trial.intermediate_values) for trial in study.trials)
            epochs_without = epochs_without or epochs
            pruned = sum(trial.state is TrialState.PRUNED for trial in study.trials)
            print(
                f"{pruner:>10}: {len(study.trials)} trials, {pruned} pruned, {epochs} epochs"
                f" ({100 * (1 - epochs / epochs_without):.0f} % fewer), best {study.best_value:.4f}"
                f" in trial {study.best_trial.number}",
                flush=True,
            )


def _sweep(folder: Path, pruner: str) -> optuna.Study:
    words = [
        "sweep=optuna",
        f"sweep/pruner={pruner}",
        "hydra/sweeper/sampler=random",
        f"hydra.sweep.dir={folder / pruner}",
        f"hydra.sweeper.n_trials={N_TRIALS}",
        f"epochs={N_EPOCHS}",
        f"paths.data_dir={folder / 'data'}",
        "data.source.n_subjects=12",
        "data.source.frames_per_subject=2",
        "data.n_folds=3",
        "data.batch_size=8",
        "model.net.hidden=8",
        "model.tta=null",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "callbacks.map_images=null",
    ]
    subprocess.run([sys.executable, str(TRAIN), "-m", *words], check=True, stdout=subprocess.DEVNULL)
    return optuna.load_study(study_name="study", storage=f"sqlite:///{folder / pruner / 'study.db'}")


if __name__ == "__main__":
    main()
