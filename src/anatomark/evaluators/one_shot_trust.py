"""Which volumes' landmarks are not to be used: beyond Wang et al. 2021."""

import math
from dataclasses import dataclass

from anatomark.types import AnatomarkError


@dataclass(frozen=True, kw_only=True)
class TrustRules:
    """When the result of a volume is not to be trusted.

    Attributes:
        min_correlation: least correlation of the linearly aligned intensities about the structure.
        mass_ratio: least and most probability that the network sums up over the structure, of the volume of the
            reference's mask.
        max_folding: largest share of voxels at which the demons' field folds.

    Raises:
        AnatomarkError: a bound cannot be.
    """

    min_correlation: float
    mass_ratio: tuple[float, float]
    max_folding: float

    def __post_init__(self) -> None:
        least, most = self.mass_ratio
        if not (-1 <= self.min_correlation <= 1 and 0 <= least < most < math.inf and 0 <= self.max_folding <= 1):
            raise AnatomarkError(
                f"min_correlation={self.min_correlation}, mass_ratio={list(self.mass_ratio)},"
                f" max_folding={self.max_folding}; give a correlation in [-1, 1], two rising ratios of at least 0 and a"
                " share in [0, 1]"
            )

    def reasons(self, *, correlation: float, mass_ratio: float, folding: float | None, ambiguous: bool) -> list[str]:
        """Why a volume is not to be trusted; nothing where it is.

        Args:
            correlation: of the aligned intensities.
            mass_ratio: of the probability and the reference's volume.
            folding: share of folding voxels; None without demons.
            ambiguous: whether two principal axes may be exchanged.
        """
        least, most = self.mass_ratio
        checks = {
            f"correlation {correlation:.2f} after alignment, below {self.min_correlation:g}": (
                correlation < self.min_correlation
            ),
            f"probability mass {mass_ratio:.2f} times the reference's volume, outside {least:g} to {most:g}": (
                not least <= mass_ratio <= most
            ),
            f"{folding or 0:.2%} of the deformation folds, above {self.max_folding:.2%}": (
                folding is not None and folding > self.max_folding
            ),
            "two principal moments are alike, so that axes may be exchanged": ambiguous,
        }
        return [reason for reason, raised in checks.items() if raised]
