"""What a command that was refused leaves behind."""

from pathlib import Path

from commands import Ended


def assert_refused(ended: Ended, *parts: str, code: int = 1) -> None:
    assert ended.err.startswith("error: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert ended.code == code
    assert "Traceback" not in ended.err + ended.out
    for part in parts:
        assert part in ended.err


def contents(run: Path, without: str = "") -> dict[str, bytes]:
    files = {path.relative_to(run): path for path in run.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if str(name) != without}
