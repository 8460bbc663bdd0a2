"""Trainings and evaluations killed at random moments: continued, do they end as if nothing had happened?

    OMP_NUM_THREADS=1 python benchmarks/kills.py [kills=20] [models=saliency,msen,...] [seed=0] [folder=PATH]

Every model is trained and evaluated once without interruption on a small phantom. Then, model by model in turn, another
process does the same and gets SIGKILL at a random moment of the training (three times out of four) or of the
evaluation. The run is continued with ``resume=true``, or evaluated again, and compared: weights of every checkpoint bit
by bit, every row of metrics.csv, the result, and after an evaluation every report and prediction but for the seconds
they name. The saliency network gets its frames from processes that live through all epochs.
"""

import csv
import json
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Loaded once here instead of in every process.
import anatomark.callbacks
import anatomark.evaluation.results
import anatomark.loggers  # noqa: F401

ROOT = Path(__file__).parents[1]
COMMON = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
FRAMES = ["data.n_folds=3", "data.source.n_subjects=6", "data.source.image_size=[112,144]"]
WORKERS = ["data.num_workers=2", "data.cache=true"]
MODELS = {
    "saliency": [
        *(*FRAMES, "data.source.frames_per_subject=2", *WORKERS),
        *("data.batch_size=2", "model.net.hidden=8", "model.tta=null", "epochs=4", "evaluator=[saliency]"),
    ],
    "msen": [
        *(*FRAMES, "data.source.frames_per_clip=[6,8]", "data.batch_size=4", "data.sampling.batches=3"),
        *("cai.size=32", "cai.disc_resolution=16", "gaze_sigma_px=5", "cai.dropout=0.2", "cai.pretrain_epochs=2"),
        *("epochs=4", "evaluator=[classification,saliency]"),
    ],
    "soft_proposal": [
        *(*FRAMES, "data.source.n_frames=84", "data.batch_size=4", "data.sampling.draws=8", "toussaint.size=64"),
        *("epochs=3", "evaluator=[classification]"),
    ],
    "shallow_unet": [
        *("data.source.n_targets=2", "data.source.size=[56,56,48]", "data.source.spacing_mm=[0.5,0.5,0.5]"),
        *("data.source.translation_mm=[2,2,2]", "data.source.rotation_deg=10", "wang.width=12", "wang.patch_size=28"),
        *("data.batch_size=16", "data.steps=40", "data.validation_steps=1", "data.translation=4", "data.rotation=20"),
        *("data.scale=0.05", "data.augmentation=null", "model.optimizer.lr=0.05", "model.scheduler.gamma=0.6"),
        *("epochs=5", "model.search.scan_stride=2", "model.search.sign_stride=2", "model.search.tolerance_mm=0.5"),
        *("evaluator.one_shot.spacing_mm=0.5", "evaluator.one_shot.naive=false", "trainer.precision=32-true"),
        *("evaluator.one_shot.demons.shrink=[4]", "evaluator.one_shot.demons.iterations=[10]"),
        *("evaluator.one_shot.registration.shrink=[4]", "evaluator.one_shot.registration.sigmas_mm=[1.0]"),
    ],
}
"""Words of a training of seconds, by model."""


class Process:
    """A command of the project in a process of its own, forked so that it need not load torch."""

    def __init__(self, script: str, words: list[str], log: Path) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_run(script, words, log))

    def kill_after(self, seconds: float) -> bool:
        """Kills the process unless it ends before; whether it was killed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return False
            time.sleep(0.002)
        os.kill(self.pid, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(self.pid, 0)[1])

    def wait(self) -> int:
        """Exit code of the process."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def wait_for(self, file: Path) -> None:
        """Returns when a file exists."""
        while not file.exists():
            require(not os.waitpid(self.pid, os.WNOHANG)[0], f"the process ended before it wrote {file}")
            time.sleep(0.002)


def _run(script: str, words: list[str], log: Path) -> int:
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.argv = [script, *words]
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class Case:
    """One model: its uninterrupted run, and runs that are killed."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model = model
        self.folder = folder / model
        self.whole = self.folder / "whole"
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log.txt"
        self.words = [f"model={model}", *MODELS[model], *COMMON, f"paths.data_dir={folder / 'data'}"]
        process = self.train(self.whole)
        process.wait_for(self.whole / "config.yaml")
        began = time.monotonic()
        require(process.wait() == 0, f"{model} does not train, see {self.log}")
        self.train_seconds, began = time.monotonic() - began, time.monotonic()
        shutil.copytree(self.whole, self.folder / "trained")
        require(self.evaluate(self.whole).wait() == 0, f"{model} cannot be evaluated, see {self.log}")
        self.evaluate_seconds = time.monotonic() - began

    def train(self, run: Path, *words: str) -> Process:
        """Trains into a folder."""
        return Process("train.py", [*self.words, f"hydra.run.dir={run}", *words], self.log)

    def evaluate(self, run: Path) -> Process:
        """Evaluates a run."""
        return Process("evaluate.py", [f"run={run}"], self.log)

    def kill_training(self, run: Path, draw: random.Random) -> tuple[str, list[str]] | None:
        """When a training was killed, and what differs once it was resumed; None where it ended before."""
        process = self.train(run)
        process.wait_for(run / "config.yaml")
        if not process.kill_after(draw.uniform(0, self.train_seconds)):
            return None
        when = moment(run)
        if Process("train.py", [f"run={run}", "resume=true"], self.log).wait() != 0:
            return when, ["not resumed"]
        return when, differences(run, self.whole)

    def kill_evaluation(self, run: Path, draw: random.Random) -> tuple[str, list[str]] | None:
        """As :meth:`kill_training`, of the evaluation of a trained run."""
        shutil.copytree(self.folder / "trained", run)
        if not self.evaluate(run).kill_after(draw.uniform(0.05, self.evaluate_seconds)):
            return None
        if self.evaluate(run).wait() != 0:
            return "evaluation", ["not evaluated"]
        return "evaluation", differences(run, self.whole)


def moment(run: Path) -> str:
    """What a training that was killed was doing."""
    if list((run / "checkpoints").glob("*.tmp")):
        return "checkpoint"
    if (run / "result.json").exists():
        return "end"
    return "epoch" if (run / "checkpoints" / "last.ckpt").exists() else "start"


def differences(run: Path, whole: Path) -> list[str]:
    """What a run and an uninterrupted one do not have in common."""
    found = []
    for file in sorted((whole / "checkpoints").iterdir()):
        other = run / "checkpoints" / file.name
        if not other.exists() or not same_weights(other, file):
            found.append(file.name)
    for name in ("metrics.csv", "result.json", "splits.json"):
        if read(run / name) != read(whole / name):
            found.append(name)
    if (run / "report").exists():
        for file in (*(whole / "report").glob("*.json"), *(whole / "report").glob("*.csv")):
            # They name the run.
            texts = file.read_text().replace(whole.name, run.name), (run / "report" / file.name).read_text()
            if untimed(texts[0], file.suffix) != untimed(texts[1], file.suffix):
                found.append(file.name)
        for file in (whole / "predictions").rglob("*.npz"):
            if not same_arrays(run / file.relative_to(whole), file):
                found.append(file.name)
    return found


def read(file: Path) -> Any:
    """Rows of a CSV file, content of another; None where it does not exist."""
    if not file.exists():
        return None
    if file.suffix != ".csv":
        return file.read_bytes()
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def same_weights(file: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same weights bit by bit."""
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (file, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def same_arrays(file: Path, other: Path) -> bool:
    """Whether two predictions hold the same arrays."""
    if not file.exists():
        return False
    with np.load(file) as a, np.load(other) as b:
        names = [name for name in a.files if not name.startswith("seconds/")]
        return set(a.files) == set(b.files) and all(np.array_equal(a[name], b[name]) for name in names)


def untimed(text: str, suffix: str) -> Any:
    """Content of a report without the seconds that something took."""
    if suffix == ".json":
        return json.loads(text, object_hook=lambda found: {key: found[key] for key in found if key != "seconds"})
    rows = csv.DictReader(text.splitlines())
    return [{name: row[name] for name in row if not name.startswith("seconds")} for row in rows]


def require(condition: bool, message: str) -> None:
    """Ends the program where a condition is not met."""
    if not condition:
        sys.exit(message)


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    wanted, draw = int(words.get("kills", 20)), random.Random(int(words.get("seed", 0)))
    torch.set_num_threads(1)
    folder = Path(words.get("folder") or tempfile.mkdtemp(prefix="kills-"))
    cases = []
    for model in words.get("models", ",".join(MODELS)).split(","):
        cases.append(Case(model, folder))
        print(f"{model:<14} trains in {cases[-1].train_seconds:.1f} s", flush=True)
    killed: Counter[str] = Counter()
    moments: Counter[tuple[str, str]] = Counter()
    equal: Counter[str] = Counter()
    resumed: Counter[str] = Counter()
    number = 0
    while killed.total() < wanted:
        case = cases[killed.total() % len(cases)]
        number += 1
        run = case.folder / f"killed{number}"
        kill: Callable[[Path, random.Random], tuple[str, list[str]] | None]
        kill = case.kill_training if draw.random() < 0.75 else case.kill_evaluation
        outcome = kill(run, draw)
        if outcome is not None:
            when, wrong = outcome
            killed[case.model] += 1
            moments[case.model, when] += 1
            resumed[case.model] += not any(word.startswith("not ") for word in wrong)
            equal[case.model] += not wrong
            print(f"{killed.total():>3} {case.model:<14} {when:<11} {', '.join(wrong) or 'equal'}", flush=True)
        if outcome is None or not outcome[1]:
            shutil.rmtree(run)
    columns = ["start", "epoch", "checkpoint", "end", "evaluation"]
    print(f"\n{'killed in':<14}" + "".join(f"{name:>12}" for name in [*columns, "kills", "resumed", "equal"]))
    for model in killed:
        counts = [moments[model, when] for when in columns] + [killed[model], resumed[model], equal[model]]
        print(f"{model:<14}" + "".join(f"{count:>12}" for count in counts))
    print(f"{'all':<14}" + f"{killed.total():>72}{resumed.total():>12}{equal.total():>12}")
    sys.exit(equal.total() != killed.total())


if __name__ == "__main__":
    main()
