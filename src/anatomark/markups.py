"""Landmarks as the point lists of 3D Slicer."""

import json
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from anatomark.errors import AnatomarkError

MARKUPS = ".mrk.json"
"""Suffix of Slicer's own files."""

_SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"


def markups_text(landmarks: Mapping[str, Float[Tensor, "3"]], *, where: str) -> str:
    """The content of a ``.mrk.json`` file.

    Args:
        landmarks: name -> (x, y, z), LPS mm.
        where: the file, for messages.

    Raises:
        AnatomarkError: there is no landmark, or a coordinate is not finite.
    """
    points = []
    for number, (name, point) in enumerate(landmarks.items(), start=1):
        if not bool(point.isfinite().all()):
            raise AnatomarkError(f"{where}: landmark {name} lies at {point.tolist()}; leave out those without a place")
        points.append(
            {
                "id": str(number),
                "label": name,
                "description": "",
                "associatedNodeID": "",
                "position": point.tolist(),
                # Slicer's own axes, which are RAS.
                "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
        )
    if not points:
        raise AnatomarkError(f"{where}: there is no landmark to write; give at least one")
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
    }
    content = {"@schema": _SCHEMA, "markups": [markup]}
    return json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n"
