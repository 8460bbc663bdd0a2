"""B-mode images of a tissue map: speckle is formed along the beams and then scan-converted into the sector.

The tissue is given on a polar grid (depth x beam), where the point-spread function of a curvilinear probe is
separable. Everything is computed on the complex envelope (the radio-frequency signal without its carrier):
modulating scatterers and pulse by the same carrier leaves the envelope unchanged, and a coarser depth grid
suffices. Fully developed speckle: Wagner et al. 1983, "Statistics of speckle in ultrasound B-scans".
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from jaxtyping import Complex64, Float, Float32, UInt8
from scipy.ndimage import map_coordinates

PolarMap = Float32[np.ndarray, "depths beams"]


@dataclass(frozen=True, kw_only=True)
class Sector:
    """The part of the frame that a curvilinear probe sees; geometry as in :class:`anatomark.types.Frustum`.

    Attributes:
        apex: (x, y) of the virtual apex, px.
        radii: near and far depth, px from the apex.
        half_angle: half of the opening angle, radians.
        tilt: beam axis against +y, radians, positive towards +x.
    """

    apex: tuple[float, float]
    radii: tuple[float, float]
    half_angle: float
    tilt: float

    @classmethod
    def draw(cls, size: tuple[int, int], spacing_mm: float, rng: np.random.Generator) -> "Sector":
        """A random sector that fills most of a frame of ``size`` (H, W) whose px are ``spacing_mm`` wide."""
        height, width = size
        near = rng.uniform(38, 58) / spacing_mm
        return cls(
            apex=(width / 2 + rng.normal(0, 0.05 * width), rng.uniform(-0.06, 0.015) * height - near),
            radii=(near, near + rng.uniform(0.99, 1.12) * height),
            half_angle=rng.uniform(0.56, 0.72),
            tilt=rng.normal(0, 0.03),
        )

    def shows(self, xy: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> bool:
        """Whether positions in px lie well inside the opening angle and a frame of ``size`` (H, W)."""
        border = 0.06 * min(size)
        if (xy < border).any() or (xy > np.array([size[1], size[0]]) - border).any():
            return False
        return bool((np.abs(self.polar(xy)[1]) < 0.88 * self.half_angle).all())

    def polar(self, xy: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Distances from the apex, px, and directions against the beam axis, radians, of positions in px."""
        offset = xy - np.array(self.apex)
        return np.hypot(*offset.T), np.arctan2(offset[:, 0], offset[:, 1]) - self.tilt

    def positions(self, grid: "AcousticGrid") -> Float32[np.ndarray, "2 depths beams"]:
        """Frame positions (x, y) in px of the samples of a polar grid."""
        angle = grid.angles + self.tilt
        x = self.apex[0] + np.outer(grid.radii, np.sin(angle))
        y = self.apex[1] + np.outer(grid.radii, np.cos(angle))
        return np.stack([x, y]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class AcousticGrid:
    """Sampling of a sector.

    Attributes:
        radii: depths from the apex, px, evenly spaced from the near to the far depth.
        angles: beam angles against the beam axis, radians, evenly spaced over the opening angle.
        spacing_mm: size of one px, mm.
    """

    radii: Float[np.ndarray, "depths"]
    angles: Float[np.ndarray, "beams"]
    spacing_mm: float

    @classmethod
    def of(cls, sector: Sector, *, shape: tuple[int, int], spacing_mm: float) -> "AcousticGrid":
        """The grid of ``shape`` (depths, beams) that covers a sector edge to edge."""
        return cls(
            radii=np.linspace(*sector.radii, shape[0]),
            angles=np.linspace(-sector.half_angle, sector.half_angle, shape[1]),
            spacing_mm=spacing_mm,
        )

    @property
    def depth_mm(self) -> Float32[np.ndarray, "depths 1"]:
        """Depth below the probe's surface, mm."""
        return np.asarray((self.radii - self.radii[0])[:, None] * self.spacing_mm, dtype=np.float32)

    @property
    def depth_step_mm(self) -> float:
        """Distance between depth samples, mm."""
        return float(self.radii[1] - self.radii[0]) * self.spacing_mm


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What the beams meet; maps of shape (depths, beams).

    Attributes:
        backscatter: root mean square amplitude of the speckle; 1 is 0 dB.
        interface: amplitude of smooth surfaces, whose echo is no speckle.
        attenuation: loss of amplitude on the way in and back, dB per mm of depth.
    """

    backscatter: PolarMap
    interface: PolarMap
    attenuation: PolarMap

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "Tissue":
        """Nothing, to paint on."""
        return cls(**{name: np.zeros(shape, np.float32) for name in ("backscatter", "interface", "attenuation")})


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """Resolution and settings of the ultrasound machine.

    Attributes:
        axial_sigma_mm: standard deviation of the pulse's envelope along the beam, mm.
        lateral_sigma_rad: standard deviation of the beam at the focus, radians: the grain widens with depth.
        focus_mm: depth of the focus, mm.
        focal_zone_mm: distance from the focus at which the beam is sqrt(2) wider in angle, mm.
        looks: envelopes with independent speckle that are averaged (compounding).
        gain_compensation_db_mm: attenuation undone by the time-gain compensation, dB per mm.
        noise_db: electronic noise, dB.
        dynamic_range_db: displayed range below 0 dB, dB.
        gain_db: added before compression, dB.
        gamma: exponent of the grey map.
    """

    axial_sigma_mm: float = 0.26
    lateral_sigma_rad: float = 0.0062
    focus_mm: float = 45.0
    focal_zone_mm: float = 60.0
    looks: int = 3
    gain_compensation_db_mm: float = 0.12
    noise_db: float = -62.0
    dynamic_range_db: float = 52.0
    gain_db: float = 0.0
    gamma: float = 1.4

    def varied(self, rng: np.random.Generator) -> "Scanner":
        """The machine as one examination sets it up."""
        return replace(
            self,
            axial_sigma_mm=self.axial_sigma_mm * rng.uniform(0.85, 1.25),
            lateral_sigma_rad=self.lateral_sigma_rad * rng.uniform(0.8, 1.4),
            dynamic_range_db=self.dynamic_range_db + rng.uniform(-4, 6),
            gain_db=self.gain_db + rng.uniform(-2, 3),
            gamma=self.gamma * rng.uniform(0.85, 1.15),
        )

    def envelope(self, tissue: Tissue, grid: AcousticGrid, rng: np.random.Generator) -> PolarMap:
        """Amplitude received from each cell, averaged over the looks.

        In a homogeneous region one look follows a Rayleigh distribution with the tissue's root mean square:
        mean over standard deviation is sqrt(pi / (4 - pi)) = 1.91.
        """
        transmission = self._transmission(tissue, grid)
        # Echoes and noise are independent and circular Gaussian, so their sum is drawn at once.
        power = (transmission * tissue.backscatter) ** 2 + np.float32(10 ** (self.noise_db / 10))
        axial, lateral = self._widths(grid)
        # The filters keep the sum of amplitudes; speckle, whose powers add, is scaled up to keep its power.
        power *= (4 * np.pi * axial * lateral)[:, None].astype(np.float32)
        speckle, smooth = np.sqrt(power), transmission * tissue.interface
        blur = PointSpread(axial=axial, lateral=lateral, shape=smooth.shape)
        looks = [np.abs(blur(speckle * _scatterers(grid, rng) + smooth)) for _ in range(self.looks)]
        return np.asarray(np.mean(looks, axis=0), dtype=np.float32)

    def image(
        self, tissue: Tissue, sector: Sector, grid: AcousticGrid, size: tuple[int, int], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "h w"]:
        """Frame of ``size`` (H, W) as the machine shows it."""
        return scan_convert(self.compress(self.envelope(tissue, grid, rng)), sector, grid, size)

    def compress(self, envelope: PolarMap) -> PolarMap:
        """Log-compressed brightness in [0, 1]: 1 at 0 dB and above, 0 at the end of the dynamic range."""
        level = 20 * np.log10(np.maximum(envelope, 1e-6)) + self.gain_db
        brightness = np.clip(1 + level / self.dynamic_range_db, 0, 1)
        return np.asarray(brightness**self.gamma, dtype=np.float32)

    def _transmission(self, tissue: Tissue, grid: AcousticGrid) -> PolarMap:
        """Amplitude left after the tissue above, which casts the shadows along the beams."""
        loss = tissue.attenuation - self.gain_compensation_db_mm
        above = np.cumsum(loss, axis=0, dtype=np.float32) - loss
        return np.asarray(np.exp(above * (-np.log(10) / 20 * grid.depth_step_mm)), dtype=np.float32)

    def _widths(self, grid: AcousticGrid) -> tuple[float, Float[np.ndarray, "depths"]]:
        """Standard deviations of pulse and beam, in samples of the grid."""
        defocus = (grid.depth_mm[:, 0] - self.focus_mm) / self.focal_zone_mm
        lateral = self.lateral_sigma_rad * np.sqrt(1 + defocus**2) / (grid.angles[1] - grid.angles[0])
        return self.axial_sigma_mm / grid.depth_step_mm, lateral


class PointSpread:
    """Separable Gaussian point-spread function of unit sum, whose width across the beams varies with depth.

    Args:
        axial: standard deviation along the beam, samples.
        lateral: standard deviation across the beams at each depth, samples.
        shape: depths and beams of the signals.
    """

    def __init__(self, *, axial: float, lateral: Float[np.ndarray, "depths"], shape: tuple[int, ...]) -> None:
        # Zeros behind the last sample keep the circular convolution from wrapping around.
        self._lengths = [
            scipy.fft.next_fast_len(samples + int(np.ceil(4 * sigma)))
            for samples, sigma in zip(shape, (axial, lateral.max()), strict=True)
        ]
        self._axial = _gaussian_transfer(self._lengths[0], np.array([axial])).T
        self._lateral = _gaussian_transfer(self._lengths[1], lateral)

    def __call__(self, signal: Complex64[np.ndarray, "depths beams"]) -> Complex64[np.ndarray, "depths beams"]:
        depths, beams = signal.shape
        spectrum = scipy.fft.fft(signal, n=self._lengths[0], axis=0) * self._axial
        signal = scipy.fft.ifft(spectrum, axis=0, overwrite_x=True)[:depths]
        spectrum = scipy.fft.fft(signal, n=self._lengths[1], axis=1) * self._lateral
        return np.asarray(scipy.fft.ifft(spectrum, axis=1, overwrite_x=True)[:, :beams])


def scan_convert(echo: PolarMap, sector: Sector, grid: AcousticGrid, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Brightness in [0, 1] on the polar grid to grey levels of a frame of ``size`` (H, W), 0 outside."""
    y = (np.arange(size[0]) - sector.apex[1]).astype(np.float32)[:, None]
    x = (np.arange(size[1]) - sector.apex[0]).astype(np.float32)
    radius = np.hypot(x, y)
    angle = np.arctan2(x, y) - sector.tilt
    row = (radius - grid.radii[0]) / (grid.radii[1] - grid.radii[0])
    column = (angle - grid.angles[0]) / (grid.angles[1] - grid.angles[0])
    grey = map_coordinates(echo, [row, column], order=1, mode="constant", cval=0.0)
    return np.round(grey * 255).astype(np.uint8)


def _scatterers(grid: AcousticGrid, rng: np.random.Generator) -> Complex64[np.ndarray, "depths beams"]:
    """Summed echo of the many scatterers of each cell: circular Gaussian with unit mean square."""
    parts = rng.standard_normal((len(grid.radii), len(grid.angles), 2), dtype=np.float32)
    return np.asarray((parts * np.float32(np.sqrt(0.5))).view(np.complex64)[..., 0])


def _gaussian_transfer(length: int, sigma: Float[np.ndarray, "k"]) -> Float32[np.ndarray, "k length"]:
    """Fourier transforms of Gaussians of unit sum, one row per standard deviation in samples."""
    exponent = np.outer(sigma**2, scipy.fft.fftfreq(length) ** 2) * (-2 * np.pi**2)
    return np.asarray(np.exp(exponent), dtype=np.float32)
