"""Intensity registration with SimpleITK: the intensity baseline without the elastix extra."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float
from torch import Tensor

from anatomark.registration.engine import affine_about, as_array, is_constant, smallest_side
from anatomark.types import AnatomarkError


class SimpleITKSimilarity:
    """A similarity that maximises the correlation of all pixels, from coarse to fine.

    ITK maps the fixed image to the moving one, so the source is the fixed image. All pixels and one thread:
    the result depends on nothing but the images.

    Args:
        resolutions: levels of the image pyramid, each half as fine as the next.
        iterations: most steps per level of the regular-step gradient descent.

    Raises:
        AnatomarkError: an option is below 1.
    """

    def __init__(self, *, resolutions: int = 4, iterations: int = 256) -> None:
        if min(resolutions, iterations) < 1:
            raise AnatomarkError(f"SimpleITK: resolutions={resolutions}, iterations={iterations}; give at least 1")
        self.resolutions = resolutions
        self.iterations = iterations

    def __call__(
        self, source: Float[Tensor, "h w"], target: Float[Tensor, "target_h target_w"]
    ) -> Float[Tensor, "2 3"] | None:
        """Registers one pair; None where the images lose their overlap or one of them is constant.

        Raises:
            AnatomarkError: a pixel is not finite, or an image is too small for the pyramid.
        """
        min_side = smallest_side(self.resolutions)
        arrays = (
            as_array(source, "source", min_side=min_side),
            as_array(target, "target", min_side=min_side),
        )
        if any(map(is_constant, arrays)):
            return None
        fixed, moving = (sitk.GetImageFromArray(array) for array in arrays)
        start = sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Similarity2DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        method = self._method()
        method.SetInitialTransform(start, inPlace=False)
        # A lost overlap is reported below; ITK would also print it into the progress bar.
        sitk.ProcessObject.GlobalWarningDisplayOff()
        result = method.Execute(fixed, moving)
        if method.GetMetricValue() > 0:
            return None  # the metric is minus the squared correlation; ITK sets a huge value without overlap
        similarity = sitk.Similarity2DTransform(result.GetNthTransform(0))
        return affine_about(
            np.array(similarity.GetMatrix()).reshape(2, 2),
            np.array(similarity.GetCenter()),
            np.array(similarity.GetTranslation()),
        )

    def _method(self) -> sitk.ImageRegistrationMethod:
        levels = range(self.resolutions - 1, -1, -1)
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetShrinkFactorsPerLevel([2**level for level in levels])
        method.SetSmoothingSigmasPerLevel([2.0**level / 2 if level else 0.0 for level in levels])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0,
            minStep=1e-3,
            numberOfIterations=self.iterations,
            gradientMagnitudeTolerance=1e-8,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        return method
