from anatomark.report.tables import lay_out
from anatomark.types import Table


def test_cells_show_three_digits_of_the_typical_value_and_published_ones_their_own() -> None:
    table = Table(
        title="T",
        columns=["method", "error", "published", "n", "p"],
        rows=[
            ["a", 39.3333, 39.3, 3916, 0.5],
            ["b", 5.16, 9.8, 2, 1e-6],
            ["A et al. (published)", 9.8, 1.0, 2, 2.0],
        ],
    )
    header, rows = lay_out(table)
    assert [[cell.text for cell in row] for row in rows] == [
        ["a", "39.3", "39.3", "3916", "0.500"],
        ["b", "5.2", "9.8", "2", "1e-06"],
        ["A et al. (published)", "9.8", "1.0", "2", "2.0"],
    ]
    assert [[cell.published for cell in row] for row in rows] == [
        [False, False, True, False, False],
        [False, False, True, False, False],
        [True] * 5,
    ]
    assert [cell.number for cell in header] == [False, True, True, True, True]
    assert rows[0][1].exact == "39.3333"


def test_a_recipe_called_paper_is_ours() -> None:
    _, rows = lay_out(Table(title="T", columns=["recipe", "CSP"], rows=[["paper", 9.81]]))
    assert not any(cell.published for cell in rows[0])
