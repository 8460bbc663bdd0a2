"""What is installed against what anatomark needs, told from the metadata of the packages: nothing is imported."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PROJECT = "anatomark"
INSTALL = 'pip install -c constraints.txt -e ".{extra}"'


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package.

    Attributes:
        version: as its metadata says, with the local version of its build (``2.13.0+cpu``).
        requires: what it asks for, as in its metadata.
    """

    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something broken.

    Attributes:
        what: what is wrong.
        remedy: what to do about it.
    """

    what: str
    remedy: str


Packages = Mapping[str, Package]
"""Canonical name of a package (lower case, dashes) -> the package."""


def installed_packages() -> dict[str, Package]:
    """Every package that this Python finds; of a name found twice, the one that is imported."""
    found: dict[str, Package] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:  # a folder that an interrupted installation left has none
            found.setdefault(canonicalize_name(name), Package(version=one.version, requires=tuple(one.requires or ())))
    return found


def checkout_package(root: Path) -> dict[str, Package]:
    """What the ``pyproject.toml`` of a checkout says of anatomark; empty where there is none.

    The metadata of an editable installation stay as they were when it was made, whatever has changed since.

    Args:
        root: folder of the checkout.
    """
    path = root / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}) if path.is_file() else {}
    if project.get("name") != PROJECT:
        return {}
    optional = project.get("optional-dependencies", {}).items()
    extra = [f'{text}; extra == "{name}"' for name, requirements in optional for text in requirements]
    return {PROJECT: Package(version=project["version"], requires=(*project["dependencies"], *extra))}


def core_requirements(packages: Packages) -> list[Requirement]:
    """What anatomark always needs here."""
    return list(_needed(packages[PROJECT], ""))


def extras(packages: Packages) -> dict[str, list[Requirement]]:
    """What each extra of anatomark needs besides."""
    core = {str(requirement) for requirement in _needed(packages[PROJECT], "")}
    needed = [Requirement(text) for text in packages[PROJECT].requires]
    names = [name for one in needed if one.marker for name in _extras_of(one)]
    return {
        name: [one for one in _needed(packages[PROJECT], name) if str(one) not in core] for name in dict.fromkeys(names)
    }


def check_packages(packages: Packages) -> list[Problem]:
    """Every reason for which the packages here cannot work together.

    Args:
        packages: what is installed.
    """
    if PROJECT not in packages:
        return [Problem(what=f"{PROJECT} is not installed", remedy=INSTALL.format(extra=""))]
    return [*_check_ranges(packages), *_check_torchvision(packages), *_check_below(packages)]


def missing(requirements: Iterable[Requirement], packages: Packages) -> list[str]:
    """Names of what is not installed."""
    return [one.name for one in requirements if canonicalize_name(one.name) not in packages]


def _check_ranges(packages: Packages) -> Iterator[Problem]:
    """Core packages must be there; those of extras may be absent; none may have another version than asked for."""
    core = core_requirements(packages)
    for name in missing(core, packages):
        yield Problem(what=f"{name} is not installed", remedy=INSTALL.format(extra=""))
    for extra, requirements in {"": core, **extras(packages)}.items():
        for one in requirements:
            package = packages.get(canonicalize_name(one.name))
            if package is not None and not _fits(package.version, one):
                yield Problem(
                    what=f"{one.name} is {package.version}; {PROJECT} needs {one.specifier}",
                    remedy=INSTALL.format(extra=f"[{extra}]" if extra else ""),
                )


def _check_torchvision(packages: Packages) -> Iterator[Problem]:
    """torchvision, which torchmetrics imports where it finds it, must be of torch's own build.

    A torchvision of another build registers operators that torch does not know, and with it every import of Lightning
    fails (``operator torchvision::nms does not exist``).
    """
    torch, torchvision = packages.get("torch"), packages.get("torchvision")
    if torch is None or torchvision is None:
        return
    builds = _build(torch.version), _build(torchvision.version)
    if builds[0] != builds[1]:
        source = f"https://download.pytorch.org/whl/{builds[0]}" if builds[0] else "the registry that torch came from"
        yield Problem(
            what=f"torch {torch.version} and torchvision {torchvision.version} are of different builds, so that"
            " pytorch_lightning cannot be imported",
            remedy=f"pip uninstall torchvision ({PROJECT} needs it for timm alone), or install it from {source}",
        )


def _check_below(packages: Packages) -> Iterator[Problem]:
    """What the packages that anatomark uses ask of one another, such as the NumPy that pandas was built for."""
    used = [canonicalize_name(one.name) for one in core_requirements(packages)]
    used += [canonicalize_name(one.name) for requirements in extras(packages).values() for one in requirements]
    seen = {PROJECT}
    while used:
        name = used.pop()
        if name in seen or name not in packages:
            continue
        seen.add(name)
        for one in _needed(packages[name], ""):
            below = canonicalize_name(one.name)
            used.append(below)
            if below not in packages:
                yield Problem(
                    what=f"{name} {packages[name].version} needs {one.name}, which is not installed",
                    remedy=f"pip install -c constraints.txt {one.name}",
                )
            elif not _fits(packages[below].version, one):
                yield Problem(
                    what=f"{name} {packages[name].version} needs {one.name} {one.specifier}; {packages[below].version}"
                    " is installed",
                    remedy=f"pip install -c constraints.txt {name} {one.name}",
                )


def _needed(package: Package, extra: str) -> Iterator[Requirement]:
    for text in package.requires:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _extras_of(requirement: Requirement) -> Sequence[str]:
    """The extras that a requirement's marker names; they are of the form ``extra == "name"``."""
    words = str(requirement.marker).split('extra == "')[1:]
    return [word.split('"')[0] for word in words]


def _fits(version: str, requirement: Requirement) -> bool:
    return not requirement.specifier or requirement.specifier.contains(version, prereleases=True)


def _build(version: str) -> str:
    """The local version, such as ``cpu``; empty for a build of the registry."""
    try:
        return Version(version).local or ""
    except InvalidVersion:
        return ""
