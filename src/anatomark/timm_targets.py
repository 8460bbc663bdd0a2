"""What of timm a configuration may execute: ``timm.create_model``, and for Hydra, which asks for a callable result's
class too, the classes of its networks. By name, because ``timm.models.*`` would let in what unpickles files."""

import importlib
import sys
from types import ModuleType

from anatomark.errors import AnatomarkError

CREATE = "timm.create_model"
# The first that is known to read the files and downloads named by its arguments as plain tensors.
OLDEST = "1.0.31"


def timm_targets() -> list[str]:
    """Entries for Hydra's execution whitelist.

    Raises:
        AnatomarkError: timm is missing, cannot be imported, or is so old that it runs code of checkpoints.
    """
    from packaging.version import Version
    from torch.nn import Module

    timm = _import_timm()
    if Version(timm.__version__) < Version(OLDEST):
        raise AnatomarkError(
            f"timm {timm.__version__} may run code that is hidden in checkpoints; install timm>={OLDEST}"
        )
    modules = [module for name, module in sys.modules.items() if name.startswith("timm.models.")]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    networks = {one for one in classes if issubclass(one, Module) and one.__module__.startswith("timm.models.")}
    return [CREATE, *sorted(f"{one.__module__}.{one.__qualname__}" for one in networks)]


def _import_timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise AnatomarkError(
            f"{CREATE} needs {error.name}; install the torchvision of the installed torch's own build (CPU or CUDA,"
            ' from the same index) first, then run: pip install -c constraints.txt -e ".[timm]"'
        ) from error
    except RuntimeError as error:
        raise AnatomarkError(
            f"timm cannot be imported ({str(error).splitlines()[0]}); replace torchvision by that of the installed"
            " torch's own build (CPU or CUDA, from the same index)"
        ) from error
