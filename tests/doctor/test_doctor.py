"""The doctor names what is broken and how to mend it, told from made-up environments; and it runs as a program."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from anatomark.doctor import __main__ as program
from anatomark.doctor.probe import devices
from anatomark.doctor.requirements import (
    Package,
    check_packages,
    checkout_package,
    extras,
    installed_packages,
    missing,
)

ROOT = Path(__file__).parents[2]
CPU = {
    "torch": Package(version="2.13.0+cpu"),
    "torchvision": Package(version="0.28.0+cpu", requires=("torch==2.13.0",)),
}


def environment(**changed: Package | None) -> dict[str, Package]:
    """A healthy environment with some packages changed, or taken out (None)."""
    ours = Package(
        version="0.1.0",
        requires=(
            "torch>=2.6",
            "hydra-core>=1.4.0rc3,<1.5",
            "pandas>=2.2",
            "tensorboard>=2.17; extra == 'tensorboard'",
            'onnx>=1.17; extra == "export"',
            'onnxruntime>=1.20; extra == "export"',
            'colorama; sys_platform == "none"',
        ),
    )
    healthy = {
        "anatomark": ours,
        "torch": Package(version="2.13.0+cpu", requires=("sympy>=1.13",)),
        "sympy": Package(version="1.14.0"),
        "hydra-core": Package(version="1.4.0rc3"),
        "pandas": Package(version="3.1.1", requires=("numpy>=2.3", 'pyarrow>=13; extra == "pyarrow"')),
        "numpy": Package(version="2.4.6"),
    }
    changed = {name.replace("_", "-"): package for name, package in changed.items()}
    return {name: package for name, package in {**healthy, **changed}.items() if package is not None}


def test_a_healthy_environment_has_no_problem() -> None:
    assert check_packages(environment()) == []
    assert check_packages(environment(torchvision=Package(version="0.28.0+cpu"))) == []


@pytest.mark.parametrize(
    ("torch", "torchvision", "broken"),
    [
        ("2.13.0+cpu", "0.28.0", True),
        ("2.13.0", "0.28.0+cpu", True),
        ("2.13.0+cu130", "0.28.0+cpu", True),
        ("2.13.0", "0.28.0", False),
        ("2.13.0+cu130", "0.28.0+cu130", False),
    ],
)
def test_torchvision_must_be_of_torchs_build(torch: str, torchvision: str, broken: bool) -> None:
    problems = check_packages(environment(torch=Package(version=torch), torchvision=Package(version=torchvision)))
    assert len(problems) == broken
    if broken:
        assert f"torch {torch} and torchvision {torchvision}" in problems[0].what
        assert "pip uninstall torchvision" in problems[0].remedy


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        ({"hydra_core": Package(version="1.3.2")}, "hydra-core is 1.3.2; anatomark needs <1.5,>=1.4.0rc3", '-e "."'),
        ({"hydra_core": Package(version="1.5.0")}, "hydra-core is 1.5.0", '-e "."'),
        ({"hydra_core": None}, "hydra-core is not installed", '-e "."'),
        ({"tensorboard": Package(version="2.3")}, "tensorboard is 2.3; anatomark needs >=2.17", '".[tensorboard]"'),
        ({"numpy": Package(version="1.26.4")}, "pandas 3.1.1 needs numpy >=2.3; 1.26.4 is installed", "pandas numpy"),
        ({"sympy": None}, "torch 2.13.0+cpu needs sympy, which is not installed", "sympy"),
        ({"anatomark": None}, "anatomark is not installed", '-e "."'),
    ],
)
def test_what_is_broken_is_named_with_its_remedy(changed: dict[str, Package], what: str, remedy: str) -> None:
    (problem,) = check_packages(environment(**changed))
    assert what in problem.what
    assert problem.remedy.startswith("pip install -c constraints.txt")
    assert remedy in problem.remedy


def test_packages_that_nothing_here_uses_are_left_alone() -> None:
    assert check_packages(environment(stranger=Package(version="1", requires=("numpy<2",)))) == []


def test_an_absent_extra_is_no_problem() -> None:
    packages = environment(onnx=Package(version="1.23.2"))
    parts = extras(packages)
    assert check_packages(packages) == []
    assert {name: [one.name for one in needed] for name, needed in parts.items()} == {
        "tensorboard": ["tensorboard"],
        "export": ["onnx", "onnxruntime"],
    }
    assert missing(parts["export"], packages) == ["onnxruntime"]


def test_a_checkout_says_what_it_needs_now(tmp_path: Path) -> None:
    assert checkout_package(tmp_path) == {}
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert checkout_package(tmp_path) == {}
    here = checkout_package(ROOT)
    assert check_packages({**here, "torch": Package(version="2.0")})[-1].what.startswith(
        "torch is 2.0; anatomark needs"
    )
    names = [one.name for requirements in extras(here).values() for one in requirements]
    assert {"itk-elastix", "wandb", "timm", "onnxruntime", "av", "pytest"} <= set(names)


def test_every_distribution_found_here_can_be_read() -> None:
    packages = installed_packages()
    assert "torch" in packages
    assert all(name == name.lower() and package.version for name, package in packages.items())


def test_modules_that_fail_are_named_and_a_crash_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy.py").write_text("print('hello')\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('operator torchvision::nms\\n does not exist')\n")
    (tmp_path / "crashing.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert program.probe(["noisy"]).problems == []
    failed, crashed = program.probe(["noisy", "broken", "crashing", "json"]).problems
    assert failed.what == "broken cannot be imported: RuntimeError: operator torchvision::nms does not exist"
    assert crashed.what == "crashing cannot be imported: the process ended with exit code -6"


def test_devices_are_told_with_their_memory() -> None:
    properties = SimpleNamespace(name="Some GPU", total_memory=24 * 2**30)
    cuda = SimpleNamespace(
        device_count=lambda: 1, get_device_properties=lambda _: properties, is_bf16_supported=lambda: True
    )
    mps = SimpleNamespace(is_available=lambda: True)
    found = devices(SimpleNamespace(cuda=cuda, backends=SimpleNamespace(mps=mps)))
    assert found == ["cuda:0 Some GPU, 24.0 GiB, bf16", "mps (Apple GPU)"]
    assert devices(None) == []


@pytest.mark.parametrize("torchvision", [None, "0.28.0"])
def test_the_exit_code_says_whether_something_is_broken(
    torchvision: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {} if torchvision is None else {"torchvision": Package(version=torchvision)}
    monkeypatch.setattr(program, "installed_packages", lambda: environment(**changed))
    monkeypatch.setattr(program, "checkout_package", lambda _: {})
    monkeypatch.setattr(program, "probe", lambda _: program.Probed(devices=["cuda:0 Some GPU"]))
    assert program.main() == (0 if torchvision is None else 1)
    out = capsys.readouterr().out
    assert {"Versions", "Machine", "Optional parts"} <= {line.strip() for line in out.splitlines()}
    assert "cuda:0 Some GPU" in out
    assert "absent: onnx, onnxruntime" in out
    assert ("Nothing is broken." in out) == (torchvision is None)


def test_loads_nothing_heavy_itself() -> None:
    code = "import sys, anatomark.doctor.__main__; print(*{'torch', 'numpy', 'pandas'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
