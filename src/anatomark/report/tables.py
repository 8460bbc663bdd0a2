"""How a table looks: number formats, alignment, and which numbers a paper printed.

A table may hold numbers that a paper printed beside ours. A column whose header, or a row of which any text
cell, contains the word "published" is shown as such, with its digits as printed.
"""

import csv
import math
import re
from dataclasses import dataclass
from io import StringIO
from statistics import median

from anatomark.types import AnatomarkError, Table

_PUBLISHED = re.compile(r"\bpublished\b", re.IGNORECASE)
_NUMBER_LIKE = re.compile("[-+\N{MINUS SIGN}]?\\s*[\\d.]|[-\N{EN DASH}\N{EM DASH}]?$")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell as it is shown.

    Attributes:
        text: what is shown.
        exact: the number behind it, empty for text.
        number: whether the cell's column holds numbers, and is set flush right.
        published: whether a paper printed it.
        href: where it leads; empty for a cell that is no link.
    """

    text: str
    exact: str = ""
    number: bool = False
    published: bool = False
    href: str = ""


class Link(str):
    """Text of a table that leads to another page.

    Args:
        text: what is shown, and what the CSV file holds.
        href: the page, relative to the report's.
    """

    href: str

    def __new__(cls, text: str, href: str) -> "Link":
        link = super().__new__(cls, text)
        link.href = href
        return link


def check_table(table: Table, name: str) -> None:
    """Refuses a table of report ``name`` that is not rectangular or holds a number that is not finite."""
    for number, row in enumerate(table.rows, start=1):
        where = f"{name}: table {table.title!r}, row {number}"
        if len(row) != len(table.columns):
            raise AnatomarkError(f"{where}: {len(row)} cells under {len(table.columns)} columns; make them equal")
        for column, cell in zip(table.columns, row, strict=True):
            if isinstance(cell, float) and not math.isfinite(cell):
                raise AnatomarkError(f"{where}, column {column!r} is {cell}; leave out what was not measured")


def csv_text(table: Table) -> str:
    """The table as comma-separated text, with its exact numbers."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue()


def lay_out(table: Table) -> tuple[list[Cell], list[list[Cell]]]:
    """Formats the header and the rows of a table.

    Every number of a column gets the decimals that show three significant digits of the column's median, but
    at most three decimals.
    """
    by_column = [bool(_PUBLISHED.search(column)) for column in table.columns]
    by_row = [any(isinstance(c, str) and _PUBLISHED.search(c) for c in row) for row in table.rows]
    columns = []
    for cells, published_column in zip(zip(*table.rows, strict=True), by_column, strict=False):
        published = [published_column or row for row in by_row]
        ours = [cell for cell, theirs in zip(cells, published, strict=True) if not theirs]
        decimals = _decimals([cell for cell in ours if isinstance(cell, float)])
        number = all(not isinstance(c, str) or _NUMBER_LIKE.match(c) for c in cells)
        columns.append([_format(c, p, decimals, number) for c, p in zip(cells, published, strict=True)])
    numbers = [column[0].number for column in columns] or [False] * len(table.columns)
    header = [
        Cell(text=text, number=number, published=published)
        for text, number, published in zip(table.columns, numbers, by_column, strict=True)
    ]
    return header, [list(row) for row in zip(*columns, strict=True)]


def _decimals(numbers: list[float]) -> int:
    sizes = [abs(number) for number in numbers if number]
    return min(3, max(0, 2 - math.floor(math.log10(median(sizes))))) if sizes else 0


def _format(value: str | float, published: bool, decimals: int, number: bool) -> Cell:
    if isinstance(value, str):
        href = value.href if isinstance(value, Link) else ""
        return Cell(text=value, number=number, published=published, href=href)
    if isinstance(value, int) or published:
        text = str(value)
    elif 0 < abs(value) < 0.5 * 10**-decimals:
        text = f"{value:.2g}"  # not "0.00" for a number that is not zero
    else:
        text = f"{value:.{decimals}f}"
    return Cell(text=text, exact=str(value), number=number, published=published)
