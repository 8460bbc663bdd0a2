"""Intensity registration with elastix: the baseline of Droste et al. 2020, section 3."""

import importlib.metadata
import math
import tempfile
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from anatomark.registration.engine import affine_about, as_array, is_constant, smallest_side
from anatomark.types import AnatomarkError

LOG_NAME = "elastix.log"
LOST_OVERLAP = "Too many samples map outside moving image buffer"


class ElastixSimilarity:
    """elastix's ``rigid`` default map with a similarity transform and normalised correlation.

    elastix maps the fixed image to the moving one, so the source is the fixed image: its map then carries the
    source's annotations to the target. One thread per registration, as pairs run in parallel.

    Args:
        resolutions: levels of the image pyramid.
        iterations: optimiser steps per level.
        seed: seed of the pixel sampler; one seed gives one result.

    Raises:
        AnatomarkError: itk-elastix is not installed, or an option is below 1.
    """

    def __init__(self, *, resolutions: int = 4, iterations: int = 256, seed: int = 0) -> None:
        if min(resolutions, iterations) < 1:
            raise AnatomarkError(f"elastix: resolutions={resolutions}, iterations={iterations}; give at least 1")
        try:
            importlib.metadata.version("itk-elastix")
        except importlib.metadata.PackageNotFoundError:
            raise AnatomarkError(
                'elastix is not installed; run: pip install "anatomark[elastix]"'
                " or choose anatomark.registration.simpleitk.SimpleITKSimilarity"
            ) from None
        self.resolutions = resolutions
        self.iterations = iterations
        self.seed = seed

    def __call__(
        self, source: Float[Tensor, "h w"], target: Float[Tensor, "target_h target_w"]
    ) -> Float[Tensor, "2 3"] | None:
        """Registers one pair; None where the images lose their overlap or one of them is constant.

        Raises:
            AnatomarkError: a pixel is not finite, an image is too small for the pyramid, or elastix failed
                for another reason than lost overlap.
        """
        min_side = smallest_side(self.resolutions)
        fixed = as_array(source, "source", min_side=min_side)
        moving = as_array(target, "target", min_side=min_side)
        if is_constant(fixed) or is_constant(moving):
            return None
        with warnings.catch_warnings():
            # ITK's generated modules load on first use; their deprecation warnings, raised as errors, crash
            # the interpreter.
            warnings.simplefilter("ignore", DeprecationWarning)
            with tempfile.TemporaryDirectory() as folder:
                return self._register(fixed, moving, Path(folder))

    def _register(
        self,
        fixed: Float32[np.ndarray, "h w"],
        moving: Float32[np.ndarray, "target_h target_w"],
        folder: Path,
    ) -> Float[Tensor, "2 3"] | None:
        import itk  # an optional extra, and seconds of loading

        parameters = itk.ParameterObject.New()
        values = parameters.GetDefaultParameterMap("rigid", self.resolutions)
        for name, value in self._parameters().items():
            values[name] = [value]
        parameters.AddParameterMap(values)
        registration = itk.ElastixRegistrationMethod.New(
            itk.image_view_from_array(fixed), itk.image_view_from_array(moving)
        )
        registration.SetParameterObject(parameters)
        registration.SetNumberOfThreads(1)
        registration.SetLogToConsole(False)
        # The exception never says why; only the log does.
        registration.SetOutputDirectory(str(folder))
        registration.SetLogFileName(LOG_NAME)
        registration.SetLogToFile(True)
        try:
            registration.Update()
        except RuntimeError as error:
            log = (folder / LOG_NAME).read_text(errors="replace")
            if LOST_OVERLAP in log:
                return None
            reasons = [line.partition("Description:")[2].strip() for line in log.splitlines()]
            reason = next(filter(None, reasons), str(error).replace("\n", " "))
            raise AnatomarkError(f"elastix failed: {reason}; check the pair's images") from error
        found = registration.GetTransformParameterObject().GetParameterMap(0)
        scale, angle, *translation = (float(v) for v in found["TransformParameters"])
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        centre = np.array([float(v) for v in found["CenterOfRotationPoint"]])
        return affine_about(np.array([[cos, -sin], [sin, cos]]), centre, np.array(translation))

    def _parameters(self) -> dict[str, str]:
        return {
            "Transform": "SimilarityTransform",
            "Metric": "AdvancedNormalizedCorrelation",
            "MaximumNumberOfIterations": str(self.iterations),
            "RandomSeed": str(self.seed),
            # Images of different sizes start with their centres on each other.
            "AutomaticTransformInitialization": "true",
            "AutomaticTransformInitializationMethod": "GeometricalCenter",
            "WriteResultImage": "false",
        }
