"""Tells what is installed, what there is to compute on and what is broken: ``python -m anatomark.doctor``.

Ends with exit code 1 where something is broken. Loads no heavy package itself.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anatomark.doctor.requirements import (
    PROJECT,
    Packages,
    Problem,
    check_packages,
    checkout_package,
    core_requirements,
    extras,
    installed_packages,
    missing,
)

# Packages whose modules are not called as they are.
MODULES = {
    "pillow": "PIL",
    "hydra-core": "hydra",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "simpleitk": "SimpleITK",
}
CHECKOUT = Path(__file__).parents[3]
TIMEOUT_S = 300


@dataclass(kw_only=True)
class Probed:
    """What :mod:`anatomark.doctor.probe` found.

    Attributes:
        devices: accelerators.
        problems: modules that cannot be imported.
    """

    devices: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def main() -> int:
    """Prints the tables; returns the exit code."""
    packages = installed_packages() | checkout_package(CHECKOUT)
    problems = check_packages(packages)
    names = [canonicalize_name(one.name) for one in core_requirements(packages)] if PROJECT in packages else []
    probed = probe([MODULES.get(name, name.replace("-", "_")) for name in names if name in packages])
    problems += probed.problems
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(_versions(names, packages))
    console.print(_machine(probed.devices))
    if PROJECT in packages:
        console.print(_optional(packages))
    console.print(_verdict(problems))
    return 1 if problems else 0


def probe(modules: Sequence[str], command: Sequence[str] = ("-m", "anatomark.doctor.probe")) -> Probed:
    """Imports modules in another process.

    Args:
        modules: their names.
        command: arguments of Python that run the probe.
    """
    ended = subprocess.run(
        [sys.executable, *command, *modules], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    found, at = Probed(), "Python"
    for line in ended.stdout.splitlines():
        if not line.startswith("{"):
            continue  # something that a package prints when imported
        told = json.loads(line)
        at = told.get("importing", at)
        found.devices += told.get("devices", [])
        if "failed" in told:
            found.problems.append(_no_import(told["failed"], told["error"]))
    if ended.returncode:
        found.problems.append(_no_import(at, f"the process ended with exit code {ended.returncode}"))
    return found


def memory_gib() -> float | None:
    """Memory of the machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return None


def usable_cores() -> int:
    """Cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _no_import(module: str, reason: str) -> Problem:
    return Problem(
        what=f"{module} cannot be imported: {reason}",
        remedy="mend what is named above, if anything; else pip install --force-reinstall -c constraints.txt of its"
        " package",
    )


def _versions(core: Iterable[str], packages: Packages) -> Table:
    table = _table("Versions", "package", "version")
    table.add_row("python", platform.python_version())
    for name in (PROJECT, *core):
        table.add_row(name, packages[name].version if name in packages else "missing")
    return table


def _machine(accelerators: Sequence[str]) -> Table:
    table = _table("Machine", "what", "value")
    table.add_row("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    table.add_row("CPU cores", f"{usable_cores()} of {os.cpu_count()}")
    memory = memory_gib()
    table.add_row("memory", "unknown" if memory is None else f"{memory:.1f} GiB")
    table.add_row("accelerators", "\n".join(accelerators) or "none: training runs on the CPU")
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    table.add_row("C++ compiler", compiler or "none: compile=true needs one")
    free = shutil.disk_usage(".").free
    table.add_row("free disk here", f"{free / 2**30:.1f} GiB")
    return table


def _optional(packages: Packages) -> Table:
    table = _table("Optional parts", "extra", "packages")
    for extra, requirements in extras(packages).items():
        absent = missing(requirements, packages)
        there = [
            f"{one.name} {packages[canonicalize_name(one.name)].version}"
            for one in requirements
            if one.name not in absent
        ]
        lacking = [f'absent: {", ".join(absent)}; pip install -c constraints.txt -e ".[{extra}]"'] if absent else []
        table.add_row(extra, Text("\n".join([", ".join(there)] * bool(there) + lacking)))
    return table


def _verdict(problems: Sequence[Problem]) -> Table | Text:
    if not problems:
        return Text("Nothing is broken.")
    table = _table("Broken", "what", "remedy")
    for problem in problems:
        table.add_row(Text(problem.what), Text(problem.remedy))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


if __name__ == "__main__":
    sys.exit(main())
