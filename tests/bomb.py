"""What a pickle of somebody else might do."""

from pathlib import Path


class Bomb:
    """Unpickles by writing the file ``mark``."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path(self.mark),)
