"""CSV files as people's programs write them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anatomark.types import AnatomarkError

_GAPS = ("", "nan", "NaN")
_OTHER_SEPARATORS = {";": "';'", "\t": "tabs"}


def parse_csv(path: Path, *, text: Sequence[str]) -> pd.DataFrame:
    """The cells of a table, text without the spaces around it; lines without any cell are dropped.

    The index counts the lines below the header from 0, dropped ones included.

    Args:
        path: the file, its first line the header.
        text: columns that are text whatever they hold, such as ids with leading zeros.

    Raises:
        AnatomarkError: it is no comma-separated text in UTF-8, a column is listed twice, or its rows have more cells
            than the header.
    """
    try:
        table = pd.read_csv(
            path,
            names=_header(path),
            header=0,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values=list(_GAPS),
            skipinitialspace=True,
            skip_blank_lines=False,
        )
    except UnicodeDecodeError as error:
        raise AnatomarkError(f"{path} is no readable table: its text is not UTF-8; save it as CSV UTF-8") from error
    except (ValueError, csv.Error) as error:
        problem = str(error).splitlines()[0]
        raise AnatomarkError(f"{path} is no readable table ({problem}); save it as comma-separated text") from error
    if not isinstance(table.index, pd.RangeIndex):  # what is too many becomes the index
        raise AnatomarkError(
            f"{path}: its rows have more cells than its header names; remove the commas at their ends, or name the"
            " columns"
        )
    for column in table.columns.intersection(list(text)):
        table[column] = table[column].str.strip()
    return table.dropna(how="all")


def _header(path: Path) -> list[str]:
    """The names of the columns; those without one get their number."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = next(csv.reader(file, skipinitialspace=True), [])
    for separator, called in _OTHER_SEPARATORS.items():
        if len(cells) == 1 and separator in cells[0]:
            raise AnatomarkError(
                f"{path}: its columns are separated by {called}; save it with commas between columns and points in"
                " numbers"
            )
    names = [cell.strip() for cell in cells]
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise AnatomarkError(f"{path} lists the column {repeated} twice; remove one")
    return [name or f"column {number}" for number, name in enumerate(names, start=1)]
