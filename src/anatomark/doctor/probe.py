"""What can be imported here, and what there is to compute on: ``python -m anatomark.doctor.probe numpy torch ...``.

Runs in a process of its own, which a package built for another NumPy may end by a crash, and answers in lines of JSON.
"""

import importlib
import json
import sys
from typing import Any


def main() -> None:
    """Imports the named modules one by one, then tells the devices that torch finds."""
    for name in sys.argv[1:]:
        _tell(importing=name)
        try:
            importlib.import_module(name)
        except Exception as error:
            _tell(failed=name, error=f"{type(error).__name__}: {' '.join(str(error).split())}")
    _tell(devices=devices(sys.modules.get("torch")))


def devices(torch: Any) -> list[str]:
    """Accelerators by name and memory.

    Args:
        torch: the module; None where it cannot be imported.
    """
    if torch is None:
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        found.append(f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.1f} GiB, {bf16}")
    if torch.backends.mps.is_available():
        found.append("mps (Apple GPU)")
    return found


def _tell(**line: object) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
