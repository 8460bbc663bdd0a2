"""Localisation frame by frame: from a frame to class scores, a map of its size and a box.

    python benchmarks/localiser_speed.py

ResNet-18 with soft proposals, one 224 x 224 px frame at a time, two CPU threads: PyTorch, and the exported graph in
ONNX Runtime where the extra ``export`` is installed. Beside them Grad-CAM of the best class on the same network, with
the same interpolation and box.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from anatomark.evaluators.maps import fill_frame
from anatomark.exporting import make_graph, open_session
from anatomark.localiser import FRAME, Localiser, box_of
from anatomark.models.soft_proposal import SoftProposalModel
from anatomark.nets.cam import ResponseNet
from anatomark.nets.resnet import ResNet
from anatomark.nets.soft_proposal import SoftProposalNet

SIDE, CLASSES, THREADS, FRAMES, ROUNDS = 224, 7, 2, 20, 5
TARGETS = {"PyTorch": 25, "ONNX Runtime": 40}
"""Frames per second the project asks for."""


def localise(localiser: Localiser, frame: Tensor) -> None:
    with torch.inference_mode():
        localiser(frame)


def localise_by_gradient(net: ResponseNet, frame: Tensor) -> None:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2) of the best class at the backbone's features, and its box."""
    with torch.no_grad():
        extracted = net.extract(frame)
    extracted.requires_grad_()
    (gradient,) = torch.autograd.grad(net.respond(extracted).logits.max(), extracted)
    with torch.no_grad():
        cells = (gradient.mean((2, 3), keepdim=True) * extracted).sum(1).relu()
        box_of(fill_frame(cells, stride=net.stride, size=(SIDE, SIDE)))


def make_session(localiser: Localiser, frames: Tensor) -> Callable[[Tensor], object]:
    """The exported graph in ONNX Runtime."""
    session = open_session(make_graph(localiser, frames).model_proto.SerializeToString())
    return lambda frame: session.run(None, {FRAME: frame.numpy()})


def seconds_per_frame(call: Callable[[Tensor], object], frames: Tensor) -> float:
    """Mean over single frames."""
    start = perf_counter()
    for frame in frames:
        call(frame[None])
    return (perf_counter() - start) / len(frames)


def main() -> None:
    """Prints frames per second of each, measured in turn."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    net = SoftProposalNet(backbone=ResNet(), n_classes=CLASSES)
    localiser = Localiser(SoftProposalModel(net=net, optimizer=torch.optim.SGD)).eval()
    frames = torch.rand(FRAMES, 1, SIDE, SIDE)
    calls = {"PyTorch": partial(localise, localiser), "Grad-CAM, PyTorch": partial(localise_by_gradient, net)}
    if importlib.util.find_spec("onnxruntime") is None:
        print("ONNX Runtime is not installed; pip install -c constraints.txt -e '.[export]'")
    else:
        calls["ONNX Runtime"] = make_session(localiser, frames)
    for call in calls.values():
        seconds_per_frame(call, frames[:3])
    rounds = [{name: seconds_per_frame(call, frames) for name, call in calls.items()} for _ in range(ROUNDS)]
    for name in calls:
        target = f" (target {TARGETS[name]})" if name in TARGETS else ""
        print(f"{name:18} {1 / median(times[name] for times in rounds):6.1f} frames/s{target}")


if __name__ == "__main__":
    main()
