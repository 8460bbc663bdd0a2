"""Time to write the phantoms to disk, PNG files and gaze included: 400 heads, and 33 clips of an abdomen."""

import tempfile
import time
from pathlib import Path

from anatomark.phantoms.base import Phantom
from anatomark.phantoms.fetal_abdomen import FetalAbdomenPhantom
from anatomark.phantoms.fetal_head import FetalHeadPhantom


def main() -> None:
    """Prints the seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        phantoms: list[Phantom] = [
            FetalHeadPhantom(Path(folder) / "fetal_head"),
            FetalAbdomenPhantom(Path(folder) / "fetal_abdomen"),
        ]
        for phantom in phantoms:
            start = time.perf_counter()
            records = phantom()
            seconds = time.perf_counter() - start
            print(f"{phantom.name}: {len(records)} frames in {seconds:.1f} s with {phantom.workers} workers")


if __name__ == "__main__":
    main()
