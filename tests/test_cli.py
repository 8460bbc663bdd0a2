"""Bad input on the command line and in run folders: one line, an exit code, nothing half-written, nothing executed."""

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from anatomark.cli import user_message
from anatomark.errors import AnatomarkError
from commands import ROOT, Commands, Ended, small


def assert_refused(ended: Ended, *parts: str, code: int = 1) -> None:
    assert ended.err.startswith("error: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert ended.code == code
    assert "Traceback" not in ended.err + ended.out
    for part in parts:
        assert part in ended.err


@pytest.fixture(scope="module")
def trained(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as training leaves it; its weights are untrained."""
    folder = tmp_path_factory.mktemp("trained")
    patch = pytest.MonkeyPatch()

    class Silent:
        def readouterr(self) -> tuple[str, str]:
            return "", ""

    run = Commands(folder, Silent(), patch).train(frames)
    patch.undo()
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def edit_config(run: Path, change: Callable[[dict], None]) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


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
        (["data.draws_per_epoch=0"], ["data.draws_per_epoch"]),
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


def contents(run: Path, without: str = "") -> dict[str, bytes]:
    files = {path.relative_to(run): path for path in run.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if str(name) != without}


class Touch:
    """Unpickles by writing a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def truncated(path: Path, sentinel: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path, sentinel: Path) -> None:
    path.write_bytes(b"not a checkpoint" * 64)


def empty(path: Path, sentinel: Path) -> None:
    path.write_bytes(b"")


def pickled_code(path: Path, sentinel: Path) -> None:
    path.write_bytes(pickle.dumps(Touch(sentinel)))


def code_beside_weights(path: Path, sentinel: Path) -> None:
    torch.save(torch.load(path, weights_only=True) | {"extra": Touch(sentinel)}, path)


def no_weights(path: Path, sentinel: Path) -> None:
    torch.save([1, 2, 3], path)


def words_for_weights(path: Path, sentinel: Path) -> None:
    torch.save({"state_dict": {"net.weight": "heavy"}}, path)


@pytest.mark.parametrize(
    "damage", [truncated, garbage, empty, pickled_code, code_beside_weights, no_weights, words_for_weights]
)
def test_a_damaged_checkpoint_is_refused(
    commands: Commands, run: Path, damage: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    sentinel = tmp_path / "executed"
    for name in ("best", "last"):
        damage(run / "checkpoints" / f"{name}.ckpt", sentinel)
    before = contents(run, without="train.log")
    assert_refused(commands("evaluate.py", f"run={run}"), "best.ckpt")
    assert_refused(commands("train.py", f"run={run}", "resume=true", "epochs=2"), "last.ckpt")
    assert not sentinel.exists()
    after = contents(run, without="train.log")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {"evaluate.log"}


def test_a_run_without_checkpoint_is_refused(commands: Commands, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    assert_refused(commands("evaluate.py", f"run={run}"), "holds no checkpoint")
    assert_refused(commands("train.py", f"run={run}", "resume=true"), "holds no checkpoint")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "torch.hub.load",
        "anatomark.runs.os.system",
        "torch.nn.functional.torch.load",
        "anatomark.report.writer.shutil.rmtree",
        "pytorch_lightning.Trainer",
    ],
)
@pytest.mark.parametrize("key", ["data", "model", "data.source", "model.optimizer", "evaluator.saliency"])
def test_no_foreign_target_is_executed(run: Path, tmp_path: Path, target: str, key: str) -> None:
    from anatomark.runs import instantiate, load_config

    sentinel = tmp_path / "executed"
    command = f"open({str(sentinel)!r}, 'w')" if target == "builtins.eval" else f"touch {sentinel}"

    def attack(config: dict) -> None:
        node = config
        for part in key.split("."):
            node = node[part]
        node.clear()
        node.update({"_target_": target, "_args_": [command]})

    edit_config(run, attack)
    cfg = load_config(run)
    with pytest.raises(Exception, match=r"whitelist|locat") as caught:
        instantiate(cfg[key.split(".")[0]])
    message = user_message(caught.value)
    assert message is not None
    assert target in message
    assert not sentinel.exists()


def test_a_run_with_a_foreign_target_ends_in_one_line(commands: Commands, run: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    node = {"_target_": "os.system", "_args_": [f"touch {sentinel}"]}
    edit_config(run, lambda config: config["data"].update(source=node))
    assert_refused(commands("evaluate.py", f"run={run}"), "os.system", "whitelist")
    assert_refused(commands("train.py", f"run={run}", "resume=true"), "os.system", "whitelist")
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "choices",
    [
        {"--config-dir": "/tmp"},
        {"hydra/launcher": "joblib"},
        {"hydra.job_logging.handlers.x.()": "os.system"},
        {"data": "frames hydra.run.dir=/tmp"},
        {"data": {"a": 1}},
        "data",
    ],
    ids=str,
)
def test_choices_of_a_run_cannot_smuggle_words(commands: Commands, run: Path, choices: object) -> None:
    edit_config(run, lambda config: config.update(choices=choices))
    assert_refused(commands("evaluate.py", f"run={run}"), "config.yaml", "choice")


@pytest.mark.parametrize("text", ["", "a: [", "- 1\n- 2\n", "model: 1\n", "\x00\x01"])
def test_a_damaged_config_is_refused(commands: Commands, run: Path, text: str) -> None:
    (run / "config.yaml").write_text(text)
    assert_refused(commands("evaluate.py", f"run={run}"), "config.yaml")


@pytest.mark.parametrize("word", ["data=[", "data.root", "data.root='a"])
def test_words_that_cannot_be_parsed_exit_with_2(commands: Commands, word: str) -> None:
    assert_refused(commands("train.py", word), code=2)


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
