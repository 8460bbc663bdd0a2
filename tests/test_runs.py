"""The run folder: what is saved, found and changed."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from torch import nn

from anatomark.errors import AnatomarkError
from anatomark.runs import (
    FORMAT,
    display_path,
    find_checkpoint,
    load_config,
    load_weights,
    merge_overrides,
    save_config,
)

CHOICES = {"model": "saliency", "data": "phantom", "recipe": "robust", "experiment": None}


def configuration(**changes: Any) -> DictConfig:
    """As Hydra composes it: pointers everywhere."""
    cfg = OmegaConf.create(
        {
            "epochs": 30,
            "run": None,
            "resume": False,
            "debug": False,
            "data": {"batch_size": 16, "fold": 0, "root": "${paths.data}/phantom"},
            "paths": {"data": "files"},
            "model": {"sigma": 9.0, "scheduler": {"T_max": "${epochs}"}},
            "trainer": {"max_epochs": "${epochs}", "devices": 1},
            "discovery": {"threshold": 0.1, "k_range": [2, 10]},
            "evaluator": {"landmarks": {"discovery": "${discovery}"}},
            "callbacks": {"checkpoint": {"dirpath": "${oc.env:RUN_FOLDER,here}"}},
            "logger": {},
        }
    )
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value)
    return cfg


def saved(folder: Path, cfg: DictConfig) -> DictConfig:
    save_config(cfg, folder, CHOICES | {"hydra/launcher": "basic"})
    return load_config(folder)


def merged(folder: Path, cfg: DictConfig, composed: DictConfig, *words: str) -> dict[str, Any]:
    result = OmegaConf.to_container(merge_overrides(saved(folder, cfg), composed, words), resolve=True)
    assert isinstance(result, dict)
    return result


def test_saved_values_are_resolved_and_parts_stay_pointers(tmp_path: Path) -> None:
    save_config(configuration(), tmp_path, CHOICES | {"hydra/launcher": "basic"})
    text = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert text["trainer"]["max_epochs"] == text["model"]["scheduler"]["T_max"] == 30
    assert text["data"]["root"] == "files/phantom"
    assert text["evaluator"]["landmarks"]["discovery"] == "${discovery}"
    assert text["callbacks"]["checkpoint"]["dirpath"] == "${oc.env:RUN_FOLDER,here}"
    assert text["choices"] == CHOICES
    assert not {"run", "resume", "debug"} & set(text)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_the_run_folder_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    cfg = saved(tmp_path, configuration())
    assert not {"format", "anatomark"} & set(cfg)  # known of the file alone
    path = tmp_path / "config.yaml"
    content = yaml.safe_load(path.read_text())
    assert content["format"] == FORMAT
    path.write_text(yaml.safe_dump(content | {"format": FORMAT + 1, "anatomark": "9.9", "model": None}))
    with pytest.raises(
        AnatomarkError, match=rf"of anatomark 9\.9, whose run folders have format {FORMAT + 1};.*update"
    ):
        load_config(tmp_path)
    path.write_text(yaml.safe_dump(content | {"format": "new"}))
    with pytest.raises(AnatomarkError, match="format is 'new', no number"):
        load_config(tmp_path)
    del content["format"], content["anatomark"]  # from before formats had numbers
    path.write_text(yaml.safe_dump(content))
    assert load_config(tmp_path) == cfg


def test_without_words_a_run_stays_as_it_was_trained(tmp_path: Path) -> None:
    trained = configuration(**{"epochs": 3, "data.fold": 2, "discovery.threshold": 0.2})
    result = merged(tmp_path, trained, configuration(), "model=saliency", "data=phantom", "run=x", "debug=true")
    assert (result["epochs"], result["trainer"]["max_epochs"], result["data"]["fold"]) == (3, 3, 2)
    assert result["evaluator"]["landmarks"]["discovery"]["threshold"] == 0.2


def test_a_changed_key_takes_along_what_points_at_it(tmp_path: Path) -> None:
    result = merged(tmp_path, configuration(epochs=3), configuration(epochs=5), "epochs=5")
    assert (result["epochs"], result["trainer"]["max_epochs"], result["model"]["scheduler"]["T_max"]) == (5, 5, 5)
    # Also back to the value that an untouched configuration has.
    result = merged(tmp_path, configuration(epochs=3), configuration(), "epochs=30")
    assert (result["epochs"], result["trainer"]["max_epochs"]) == (30, 30)
    moved = merged(tmp_path, configuration(), configuration(**{"paths.data": "elsewhere"}), "paths.data=elsewhere")
    assert moved["data"]["root"] == "elsewhere/phantom"


def test_what_the_run_had_set_itself_does_not_follow(tmp_path: Path) -> None:
    trained = configuration(**{"epochs": 3, "trainer.max_epochs": 2})
    result = merged(tmp_path, trained, configuration(epochs=5), "epochs=5")
    assert (result["trainer"]["max_epochs"], result["model"]["scheduler"]["T_max"]) == (2, 5)


def test_a_changed_part_reaches_the_evaluators(tmp_path: Path) -> None:
    changed = configuration(**{"discovery.threshold": 0.3})
    result = merged(tmp_path, configuration(**{"data.fold": 1}), changed, "discovery.threshold=0.3")
    assert result["evaluator"]["landmarks"]["discovery"] == {"threshold": 0.3, "k_range": [2, 10]}
    assert result["data"]["fold"] == 1


def test_a_group_can_be_exchanged_and_a_recipe_cannot(tmp_path: Path) -> None:
    other = configuration()
    other.data = {"batch_size": 8, "root": "${paths.data}/real"}
    trained = configuration(**{"paths.data": "mine"})
    result = merged(tmp_path, trained, other, "data=real")
    assert result["data"] == {"batch_size": 8, "root": "mine/real"}
    for word in ("recipe=paper", "+experiment=demo"):
        with pytest.raises(AnatomarkError, match="cannot be changed"):
            merged(tmp_path, trained, configuration(), word)


def test_lists_and_nulls_are_values(tmp_path: Path) -> None:
    changed = configuration(**{"discovery.k_range": [3, 4], "model.sigma": None})
    result = merged(tmp_path, configuration(), changed, "discovery.k_range=[3,4]", "model.sigma=null")
    assert result["discovery"]["k_range"] == [3, 4]
    assert result["model"]["sigma"] is None


def test_the_folder_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match=r"config\.yaml does not exist; give run="):
        load_config(tmp_path)


def test_checkpoints_are_found_by_name_and_never_exchanged(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match="holds no checkpoint"):
        find_checkpoint(tmp_path)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.ckpt").touch()
    assert find_checkpoint(tmp_path, "last") == folder / "last.ckpt"
    with pytest.raises(AnatomarkError, match=r"best\.ckpt does not exist; checkpoint= can be last"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "", ".hidden", None])
def test_a_checkpoint_is_no_path(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(AnatomarkError, match="no name of a checkpoint"):
        find_checkpoint(tmp_path, name)


def test_weights_are_loaded_into_their_own_model_only(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({"state_dict": source.state_dict()}, path)
    load_weights(target, path)
    assert torch.equal(source.weight, target.weight)
    for other, count in (
        (nn.Linear(4, 2), "1 of another shape (for example weight)"),
        (nn.Linear(3, 2, bias=False), "1 unknown"),
        (nn.Bilinear(3, 3, 2), "1 of another shape"),
        (nn.Sequential(nn.Linear(3, 2)), "2 weights missing, 2 unknown"),
    ):
        before = {key: value.clone() for key, value in other.state_dict().items()}
        with pytest.raises(AnatomarkError) as caught:
            load_weights(other, path)
        assert "belongs to another model" in str(caught.value)
        assert count in str(caught.value)
        assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())


def test_paths_are_shown_relative_where_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert display_path(tmp_path / "runs" / "a") == "runs/a"
    assert display_path(Path("/x")) == "/x"


def test_a_run_without_loggers_or_evaluators_is_saved(tmp_path: Path) -> None:
    cfg = configuration()
    del cfg["logger"], cfg["evaluator"]  # what Hydra composes for logger=[] evaluator=[]
    assert not {"logger", "evaluator"} & set(saved(tmp_path, cfg))
