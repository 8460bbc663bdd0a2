"""Every YAML of conf/ composes, names only what may be executed, and describes what can be built."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict

from anatomark.instantiation import EXECUTION_WHITELIST, instantiate, instantiate_all, register_resolvers
from anatomark.runs import POINTERS
from anatomark.timm_targets import CREATE
from commands import CONF

# Groups of which a run takes one option; of the others it takes a list.
SINGLE = (
    "backbone",
    "callbacks",
    "data",
    "discovery",
    "engine",
    "experiment",
    "features",
    "launcher",
    "model",
    "recipe",
    "sweep",
    "trainer",
)
LISTS = ("evaluator", "logger")
# Options that need a plugin of Hydra, an extra.
PLUGINS = {
    "joblib": "hydra_joblib_launcher",
    "optuna": "hydra_optuna_sweeper",
    "ray": "hydra_ray_launcher",
    "slurm": "hydra_submitit_launcher",
    "submitit_local": "hydra_submitit_launcher",
}
# First word of a recipe -> a model it is made for.
MODEL_OF = {
    "saliency": "saliency",
    "cai": "msen",
    "sononet": "sononet16",
    "toussaint": "soft_proposal",
    "wang": "shallow_unet",
    "segmenter": "shallow_unet",
}
# Words without which a data set cannot be described.
WORDS_OF = {
    "frames": ["data.root=frames"],
    "volumes": ["data.root=volumes", "data.window=[0,1]"],
}
VOLUMES = ("mouse_ct", "temporal_bone", "volumes")
FILES = sorted(path for path in CONF.rglob("*.yaml"))
OPTIONS = [(path.parent.name, path.stem) for path in FILES if path.parent.parent == CONF]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANATOMARK_DATA", raising=False)
    return tmp_path


def composed(*words: str, script: str = "train") -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(CONF)):
        cfg = compose(script, overrides=list(words), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = "run"
        cfg.hydra.job.num, cfg.hydra.job.id = 0, "0"
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def words_for(group: str, option: str) -> list[str]:
    words = [f"{group}=[{option}]" if group in LISTS else f"{group}={option}"]
    if group == "features":
        words.append("model=soft_proposal")
    if group == "recipe":
        words.append(f"model={model_of(option)}")
    if option == "segmenter":
        words.append("data=fetal_brain")
    if group == "data":
        words += [*WORDS_OF.get(option, []), *(["model=shallow_unet"] if option in VOLUMES else [])]
    if option == "droste2020_fetal_brain":
        words.append("model.net.trunk.weights=null")  # published weights are no part of the project
    return words


def model_of(recipe: str) -> str:
    return MODEL_OF[recipe.split("_")[0]]


def pairs_of_data_and_recipes() -> list[tuple[str, str]]:
    """Frames with the recipes of frames, volumes with those of volumes."""
    data, recipes = ([option for group, option in OPTIONS if group == wanted] for wanted in ("data", "recipe"))
    return [(one, recipe) for one in data for recipe in recipes if (one in VOLUMES) == recipe.startswith("wang")]


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def test_every_group_is_known() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups == {*SINGLE, *LISTS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_targets_are_inside_the_whitelist_and_exist(path: Path) -> None:
    for target in set(targets(yaml.safe_load(path.read_text()))) - {CREATE}:  # an extra
        if target.startswith(("optuna.", "anatomark.sweeps.sweeper.")):
            pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
        assert any(target.startswith(pattern.removesuffix("*")) for pattern in EXECUTION_WHITELIST), target
        assert callable(get_object(target)), target


def test_the_whitelist_holds_no_loader() -> None:
    assert all(pattern.endswith(".*") for pattern in EXECUTION_WHITELIST)
    assert not {"torch.*", "torch.hub.*", "pytorch_lightning.*"} & set(EXECUTION_WHITELIST)


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_every_option_composes_and_can_be_built(group: str, option: str, folder: Path) -> None:
    if group in ("launcher", "sweep"):
        pytest.importorskip(f"hydra_plugins.{PLUGINS[option]}")
    cfg = composed(*words_for(group, option))
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    if (group, option) == ("features", "timm") and importlib.util.find_spec("timm") is None:
        pytest.skip("needs the timm extra")
    data, model = instantiate(cfg.data), instantiate(cfg.model)
    assert model.configure_optimizers()
    assert data.source.name
    assert all(callable(evaluator) and set(evaluator.splits) for evaluator in instantiate_all(cfg.evaluator))
    assert instantiate_all(cfg.callbacks)
    instantiate(cfg.discovery)
    if (group, option) != ("engine", "elastix"):  # an extra
        instantiate(cfg.engine)
    assert list(folder.iterdir()) == []  # nothing is read or written before it is needed


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "logger"])
def test_every_logger_can_be_built(option: str, folder: Path) -> None:
    if option not in ("csv",):
        pytest.importorskip(option)
    (logger,) = instantiate_all(composed(f"logger=[{option}]").logger)
    assert logger.save_dir.startswith("run")


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "trainer" and option != "gpu"])
def test_every_trainer_can_be_built(option: str, folder: Path) -> None:
    from anatomark.instantiation import make_trainer

    trainer = make_trainer(composed(f"trainer={option}", "trainer.accelerator=cpu").trainer, logger=False)
    assert trainer.max_epochs == (1 if option == "debug" else 30)
    assert trainer.num_devices == 1


# Not importorskip: importing itk with warnings as errors crashes the interpreter.
@pytest.mark.skipif(importlib.util.find_spec("itk") is None, reason="needs the elastix extra")
def test_elastix_engine_can_be_built(folder: Path) -> None:
    assert callable(instantiate(composed("engine=elastix").engine))


@pytest.mark.parametrize(("data", "recipe"), pairs_of_data_and_recipes())
def test_every_recipe_meets_every_data_set(data: str, recipe: str) -> None:
    cfg = composed(f"data={data}", *WORDS_OF.get(data, []), f"recipe={recipe}", f"model={model_of(recipe)}")
    assert not OmegaConf.missing_keys(cfg)


@pytest.mark.parametrize("backbone", [option for group, option in OPTIONS if group == "backbone"])
@pytest.mark.parametrize("recipe", ["saliency_paper", "saliency_robust"])
def test_every_saliency_recipe_meets_every_backbone(backbone: str, recipe: str) -> None:
    assert instantiate(composed(f"backbone={backbone}", f"recipe={recipe}").model).stride >= 4


def test_the_model_alone_chooses_its_phantom() -> None:
    cfg = composed("model=saliency")
    assert cfg.data.root == "data/phantoms/fetal_head"
    assert set(cfg.evaluator) == {"saliency", "landmarks", "registration"}


def test_evaluation_composes_like_training_without_logger() -> None:
    train, evaluate = composed(), composed(script="evaluate")
    assert train.logger
    assert not evaluate.get("logger")
    keys = [key for key in train if key not in POINTERS]
    assert {key: train[key] for key in keys} == {key: evaluate[key] for key in keys}


def test_shared_keys_reach_every_place() -> None:
    cfg = composed("epochs=7", "discovery.threshold=0.07", "gaze_sigma_px=5", "monitor=val/cc")
    assert (cfg.trainer.max_epochs, cfg.model.scheduler.T_max) == (7, 7)
    assert cfg.evaluator.landmarks.discovery.threshold == cfg.evaluator.registration.discovery.threshold == 0.07
    assert cfg.evaluator.saliency.sigma == 5
    assert cfg.callbacks.checkpoint.monitor == "val/cc"


def test_cai2018_meets_frames_of_ones_own(folder: Path) -> None:
    words = ["experiment=cai2018", "data=frames", "data.root=frames", "data.classes=[other,heart]", "cai.crop_box=null"]
    cfg = composed(*words, "model=sonoeyenet", "cai.width=32")
    assert cfg.evaluator.classification.positive == "heart"
    for transform in (cfg.data.train_transform, cfg.data.eval_transform):
        (crop,) = (step for step in transform.steps[0].steps if step._target_.endswith("CropToBox"))
        assert crop.name is None
    assert cfg.model.net.attention_width == cfg.model.net.trunk.width == 32


def test_msen_without_gaze_is_scored_where_msen_bce_is(folder: Path) -> None:
    """At the end of pre-training, however many epochs are asked for."""
    bce, no_gaze = (composed(f"model={name}", "epochs=23").rows for name in ("msen", "msen_no_gaze"))
    assert no_gaze["M-SEN, no gaze"] == bce["M-SEN BCE"] == "pretrained"
