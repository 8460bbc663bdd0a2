"""Compiled networks: fewer, larger kernels, for GPUs and long trainings."""

import os
import shutil

import pytorch_lightning as pl
from torch import nn

from anatomark.types import AnatomarkError


class CompileNet(pl.Callback):
    """Compiles the model's network by ``torch.compile`` when its training or evaluation begins.

    In place, so that the names of its weights, and with them checkpoints, stay as they are: a compiled run is
    continued and evaluated by one that is not.

    Args:
        enabled: whether to.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compiles the network, which is done piece by piece when it is first used.

        Raises:
            AnatomarkError: there is no C++ compiler.
        """
        net = getattr(pl_module, "net", None)
        if not self.enabled or not isinstance(net, nn.Module) or net._compiled_call_impl is not None:
            return
        compiler = os.environ.get("CXX", "c++")
        if shutil.which(compiler) is None and shutil.which("g++") is None:
            raise AnatomarkError(f"compile=true needs a C++ compiler, and there is no {compiler}; install g++")
        net.compile()
