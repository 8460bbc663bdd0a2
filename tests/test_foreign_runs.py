"""Damaged run folders, and those of somebody else: refused in one line, nothing executed."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from anatomark.cli import user_message
from bomb import Bomb
from commands import Commands
from refused import assert_refused, contents


def edit_config(run: Path, change: Callable[[dict], None]) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def truncated(path: Path, sentinel: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path, sentinel: Path) -> None:
    path.write_bytes(b"not a checkpoint" * 64)


def empty(path: Path, sentinel: Path) -> None:
    path.write_bytes(b"")


def pickled_code(path: Path, sentinel: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(sentinel)))


def code_beside_weights(path: Path, sentinel: Path) -> None:
    torch.save(torch.load(path, weights_only=True) | {"extra": Bomb(sentinel)}, path)


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
    from anatomark.instantiation import instantiate
    from anatomark.runs import load_config

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
