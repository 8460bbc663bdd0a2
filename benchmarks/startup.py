"""Start-up: ``python train.py --help`` beside the bare import of Hydra and of torch, each in fresh processes."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "python train.py --help": [sys.executable, "train.py", "--help"],
    "import hydra": [sys.executable, "-c", "import hydra"],
    "import pytorch_lightning": [sys.executable, "-c", "import pytorch_lightning"],
}


def main() -> None:
    """Prints the median of five starts of each, seconds, and the ratio to importing Lightning."""
    medians = {name: statistics.median(_seconds(command) for _ in range(5)) for name, command in COMMANDS.items()}
    for name, seconds in medians.items():
        print(f"{name:26} {seconds:6.2f} s")
    print(f"ratio to Lightning's import {medians['python train.py --help'] / medians['import pytorch_lightning']:.2f}")


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
