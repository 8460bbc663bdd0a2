"""Time to write the fetal-head phantom of 400 frames to disk, PNG files and gaze included."""

import tempfile
import time
from pathlib import Path

from anatomark.phantoms.fetal_head import FetalHeadPhantom


def main() -> None:
    """Prints the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        phantom = FetalHeadPhantom(Path(folder) / "fetal_head")
        start = time.perf_counter()
        records = phantom()
        seconds = time.perf_counter() - start
    print(f"fetal_head phantom: {len(records)} frames in {seconds:.1f} s with {phantom.workers} workers")


if __name__ == "__main__":
    main()
