"""Bad input on the command line: one line, an exit code, nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from anatomark.cli import user_message, with_saved_choices
from anatomark.errors import AnatomarkError
from commands import ROOT, Commands, Ended, small
from refused import assert_refused, contents


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["data.batch_sizes=4"], ["data.batch_sizes"]),
        (["modle=saliency"], ["modle"]),
        (["model=salience"], ["model/salience", "saliency"]),
        (["logger=[cvs]"], ["logger/cvs"]),
        (["data.root=/nowhere/at/all"], ["/nowhere/at/all"]),
        (["data.root=???"], ["data.root"]),
        (["data.fold=9"], ["data.fold is 9", "0 to 2"]),
        (["data.n_folds=1"], ["data.n_folds"]),
        (["data.n_folds=99"], ["data.n_folds"]),
        (["data.val_fraction=1.5"], ["data.val_fraction is 1.5"]),
        (["data.val_fraction=0"], ["monitor=val/kld", "monitor=null"]),
        (["data.batch_size=0"], ["data.batch_size is 0"]),
        (["data.num_workers=-1"], ["num_workers"]),
        (["data.classes=[TV,TV]"], ["data.classes", "'TV' twice"]),
        (["data.source.gaze.screen.distance_m=0"], ["distance_m"]),
        (["data.source.gaze.screen.frame_scale=-1"], ["frame_scale"]),
        (["model.net.trunk.width=5"], ["width", "5"]),
        (["model.net.head=linear"], ["model.net", "linear"]),
        (["model.sigma_px=0"], ["sigma"]),
        (["model.reduction=0"], ["reduction"]),
        (["model.optimizer.lr=-1"], ["model.optimizer", "-1"]),
        (["model.optimizer.momentums=1"], ["model.optimizer.momentums"]),
        (["+model.optimizer.momentums=1"], ["model.optimizer", "momentums"]),
        (["+model.colour=red"], ["model", "colour"]),
        (["trainer.accelerator=quantum"], ["trainer", "quantum"]),
        (["trainer.precision=7"], ["trainer", "7"]),
        (["trainer.max_epochs=-5"], ["max_epochs", "-5"]),
        (["+trainer.speed=9"], ["trainer", "speed"]),
        (["monitor=val/beauty"], ["val/beauty"]),
        (["monitor_mode=most"], ["mode", "most"]),
        (["seed=-1"], ["seed"]),
        (["epochs=0"], ["epochs is 0"]),
        (["epochs=-1"], ["epochs is -1"]),
        (["callbacks.map_images={_target_:anatomark.callbacks.MapImages,n_images:0}"], ["n_images is 0"]),
        (["logger=[]", "+logger.mine._target_=os.system", "+logger.mine.command=x"], ["os.system", "whitelist"]),
        (["resume=true"], ["resume=true", "run="]),
        (["run=runs/nothing", "resume=true"], ["runs/nothing", "does not exist"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_training_refuses(commands: Commands, frames: Path, words: list[str], parts: list[str]) -> None:
    ended = commands("train.py", *small(frames), *words)
    assert_refused(ended, *parts)
    assert not list(commands.folder.rglob("*.ckpt"))


def test_training_refuses_the_folder_of_another_run(commands: Commands, run: Path, frames: Path) -> None:
    before = contents(run)
    assert_refused(commands("train.py", *small(frames), f"run={run}"), "resume=true")
    assert contents(run, without="train.log") == {k: v for k, v in before.items() if k != "train.log"}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["run="]),
        (["run=nothing"], ["nothing/config.yaml does not exist", "run="]),
        (["run=[RUN,nothing]"], ["nothing/config.yaml does not exist"]),
        (["run=RUN", "checkpoint=newest"], ["newest.ckpt", "best or last"]),
        (["run=RUN", "discovery.threshold=2", "evaluator=[landmarks]"], ["threshold", "2"]),
        (["run=RUN", "discovery.k_range=[9,2]", "evaluator=[landmarks]"], ["k_range"]),
        (["run=RUN", "discovery.fit_on=val", "evaluator=[landmarks]"], ["fit_on"]),
        (["run=RUN", "evaluator.saliency.sigma=0"], ["sigma"]),
        (["run=RUN", "evaluator.saliency.colour=red"], ["evaluator.saliency.colour"]),
        (["run=RUN", "evaluator=[saliencies]"], ["evaluator/saliencies"]),
        (["run=RUN", "data.root=/nowhere"], ["/nowhere"]),
        (["run=RUN", "data.fold=9"], ["data.fold is 9"]),
        (["run=RUN", "recipe=saliency_paper"], ["recipe="]),
        (["run=RUN", "model.net.hidden=16"], ["belongs to another model"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else None,
)
def test_evaluation_refuses(commands: Commands, run: Path, words: list[str], parts: list[str]) -> None:
    ended = commands("evaluate.py", *(word.replace("RUN", str(run)) for word in words))
    assert_refused(ended, *parts)
    assert not (run / "report").exists()
    assert not list(run.glob("*.tmp"))


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("data=[", "\"data=['Patient (1)',b]\""),
        ("run=[größe,b]", "\"run=['Patient (1)',b]\""),
        ("data.root", "no key=value"),
        ("data.root='a", "\"data.root='a'\""),
        ("run=/tmp/größe", "\"run='/tmp/größe'\""),
        ("data.root=/tmp/Patient (1)", "\"data.root='/tmp/Patient (1)'\""),
        ("data.root=O'Brien", "\"data.root='O\\'Brien'\""),
    ],
)
def test_words_that_cannot_be_parsed_are_named_with_the_remedy(commands: Commands, word: str, remedy: str) -> None:
    assert_refused(commands("train.py", word), f"error: {word} ", remedy)


@pytest.mark.parametrize("name", ["größe (1)", "777", "1e3", "a,b", "O'Brien"])
def test_a_run_may_have_any_name(commands: Commands, run: Path, name: str) -> None:
    (run / "checkpoints").rename(run / "moved")
    run.rename(commands.folder / name)
    word = f"run={name}" if name[0].isdecimal() else "run='" + name.replace("'", "\\'") + "'"
    assert_refused(commands("evaluate.py", word), f"{name}/checkpoints holds no checkpoint")


@pytest.mark.parametrize("word", ["run=[2026.10]", "run=[a,777]", "run=777,888", "run=[a,1e3],[b]"])
def test_names_like_numbers_are_quoted_among_others(commands: Commands, word: str) -> None:
    assert_refused(commands("evaluate.py", word), f"{word}: quote every name", "['2026.10',b]")


@pytest.mark.parametrize("word", [r"run=['O\'Brien','777']", r"run='O\'Brien','b'", r"run=['O\'Brien',a],[c,d]"])
def test_the_first_of_several_runs_brings_its_choices(
    commands: Commands, run: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.rename(commands.folder / "O'Brien")
    monkeypatch.chdir(commands.folder)
    assert any(added.startswith("model=") for added in with_saved_choices([word]))


def test_unknown_flag_exits_with_2(commands: Commands) -> None:
    ended = commands("train.py", "--colour")
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_debug_shows_the_traceback(commands: Commands, frames: Path) -> None:
    with pytest.raises(AnatomarkError, match=r"data\.fold"):
        commands("train.py", *small(frames), "data.fold=9", "debug=true")


def test_a_defect_keeps_its_traceback(commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anatomark.data.datamodules import FrameDataModule

    def broken(self: FrameDataModule, stage: str | None = None) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(FrameDataModule, "setup", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        commands("train.py", *small(frames))


def test_the_message_is_the_innermost_of_ours() -> None:
    outer = RuntimeError("worker died")
    outer.__cause__ = AnatomarkError("gaze.csv, row 3:\n  x_px is NaN; remove the row")
    assert user_message(outer) == "gaze.csv, row 3: x_px is NaN; remove the row"
    assert user_message(RuntimeError("a defect")) is None


def test_a_message_from_a_worker_process_comes_without_its_traceback() -> None:
    class Damaged(Dataset[int]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> int:
            raise AnatomarkError("a.png is damaged: no header; copy it again")

    with pytest.raises(AnatomarkError, match="Traceback") as caught:
        next(iter(DataLoader(Damaged(), num_workers=1)))
    assert user_message(caught.value) == "a.png is damaged: no header; copy it again"


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pytorch_lightning", "matplotlib", "pandas")
    code = (
        "import runpy, sys\n"
        "sys.argv = ['train.py', '--help']\n"
        f"try: runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"sys.exit(' '.join(name for name in {heavy!r} if name in sys.modules) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "model" in ended.stdout


def test_a_real_process_prints_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "data=frames", "data.batch_sizes=4"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert_refused(Ended(ended.returncode, ended.stdout, ended.stderr), "data.batch_sizes")
    assert not list(tmp_path.iterdir())
