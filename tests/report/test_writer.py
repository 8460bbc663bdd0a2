import base64
import csv
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from anatomark.report.page import RunInfo, describe_evaluation
from anatomark.report.writer import name_data_set, print_tables, write_reports
from anatomark.types import AnatomarkError, Report, Table

RUN_INFO = RunInfo(
    data_set="fetal_head phantom",
    runs=["runs/a", "runs/b"],
    command="python evaluate.py run=[runs/a,runs/b] note='<b>'",
    seed=3,
    date="2026-01-02",
    version="0.1.0",
    note="",
)
METRICS = "epoch,step,train/loss\n0,1,4.0\n1,2,2.0\n"


def chart() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([0, 1], [1, 0])
    return figure


def picture() -> Figure:
    figure = Figure(figsize=(6, 2))
    figure.add_subplot().imshow(np.arange(12).reshape(3, 4))
    return figure


def make_report(name: str = "registration", **changes: object) -> Report:
    table = Table(
        title="Errors, fetal_head phantom",
        columns=["method", "CSP", "CSP, published"],
        rows=[["none", 1 / 3 + 39, 39.3], ["salient", 4.0, 9.8]],
        note="% of the HC long axis",
    )
    fields = {
        "title": "Registration <script>alert(1)</script>",
        "values": {"n_pairs": 7, "errors": {"salient": {"csp": 0.1 + 0.2}}, "unit": "%", "ids": [1, 2]},
        "tables": [table],
        "figures": {"Chart": chart(), "Picture": picture()},
    }
    return Report(name=name, **{**fields, **changes})


class Tags(HTMLParser):
    """Every tag of a page with its attributes; checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def write(folder: Path, *reports: Report, **options: object) -> str:
    return write_reports(reports, folder, title="Title", run_info=RUN_INFO, **options).read_text()


def test_json_and_csv_hold_the_exact_numbers(tmp_path: Path) -> None:
    report = make_report()
    write(tmp_path / "report", report)
    assert json.loads((tmp_path / "report/registration.json").read_text()) == report.values
    with (tmp_path / "report/registration.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == report.tables[0].columns
    assert [float(row[1]) for row in rows] == [1 / 3 + 39, 4.0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report"]


def test_several_tables_get_a_file_each_and_the_page_embeds_them_all(tmp_path: Path) -> None:
    tables = [Table(title=f"T{i}", columns=["a"], rows=[[i]]) for i in (1, 2)]
    page = Tags(write(tmp_path / "report", make_report(tables=tables)))
    embedded = dict(zip(page.values("download"), (h for h in page.values("href") if h[0] != "#"), strict=True))
    assert list(embedded) == ["registration.json", "registration_1.csv", "registration_2.csv"]
    for name, uri in embedded.items():
        assert base64.b64decode(uri.split(",")[1]) == (tmp_path / "report" / name).read_bytes()


def test_files_for_other_programs_lie_in_the_report_and_on_the_page(tmp_path: Path) -> None:
    report = make_report(files={"landmarks/a.mrk.json": "{}\n", "landmarks/ä b.mrk.json": "ä"})
    page = Tags(write(tmp_path / "report", report))
    assert (tmp_path / "report/landmarks/a.mrk.json").read_text() == "{}\n"
    embedded = dict(zip(page.values("download"), (h for h in page.values("href") if h[0] != "#"), strict=True))
    assert base64.b64decode(embedded["ä b.mrk.json"].split(",")[1]).decode() == "ä"


def test_page_shows_a_note_where_there_is_one(tmp_path: Path) -> None:
    for note in ("", "The run is <b>."):
        info: RunInfo = {**RUN_INFO, "note": note}
        page = write_reports([make_report()], tmp_path / "report", title="T", run_info=info).read_text()
        assert page.count("<dt>Note</dt>") == bool(note)
    assert "<strong>The run is &lt;b&gt;.</strong>" in page


def test_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(METRICS)
    text = write(tmp_path / "report", make_report(), training_curves=tmp_path / "metrics.csv")
    page = Tags(text)
    assert all(uri.startswith(("data:", "#")) for uri in page.values("src") + page.values("href"))
    assert not re.search(r"url\(|@import|https?://", text)
    anchors = {uri[1:] for uri in page.values("href") if uri[0] == "#"}
    assert anchors == {"registration", "training-curves"} <= set(page.values("id"))
    charts = [uri for uri in page.values("src") if uri.startswith("data:image/svg+xml")]
    pictures = [uri for uri in page.values("src") if uri.startswith("data:image/png")]
    assert (len(charts), len(pictures)) == (2, 1)
    for uri in charts:
        assert ElementTree.fromstring(base64.b64decode(uri.split(",")[1])).tag.endswith("svg")
    with Image.open(BytesIO(base64.b64decode(pictures[0].split(",")[1]))) as image:
        assert image.width > 300


def test_page_shows_text_as_text(tmp_path: Path) -> None:
    text = write(tmp_path / "report", make_report())
    assert "<script>alert" not in text
    assert "python evaluate.py run=[runs/a,runs/b] note=&#39;&lt;b&gt;&#39;" in text
    for shown in (
        "fetal_head phantom",
        "runs/a",
        "runs/b",
        "2026-01-02",
        "anatomark 0.1.0",
        "% of the HC long axis",
    ):
        assert shown in text


def test_same_reports_give_the_same_page(tmp_path: Path) -> None:
    assert write(tmp_path / "a", make_report()) == write(tmp_path / "b", make_report())


def test_an_existing_report_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "report", make_report("old"))
    write(tmp_path / "report", make_report("new"))
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["index.html", "new.csv", "new.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("fails_at", ["write_text", "rename"])
def test_a_failure_leaves_the_existing_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    write(tmp_path / "report", make_report("old"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "report").iterdir()}
    original = getattr(Path, fails_at)

    def fail(path: Path, *args: object, **kwargs: object) -> object:
        # Only what concerns the new report fails; the way back must work.
        if ".report.new" in str(path):
            raise OSError("no space left")
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, fails_at, fail)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path / "report", make_report("new"))
    assert {p.name: p.read_bytes() for p in (tmp_path / "report").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_a_folder_that_is_no_report_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(AnatomarkError, match="thesis exists and is no report"):
        write(tmp_path / "thesis", make_report())
    assert (tmp_path / "thesis" / "chapter.tex").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {"errors": {"csp": [1.0, float("nan")]}}}, r"registration\.errors\.csp\[1\] is nan"),
        ({"values": {"kld": float("inf")}}, r"registration\.kld is inf"),
        ({"values": {"kld": np.float32(1)}}, r"registration\.kld is a float32"),
        ({"values": {"per": {3: 1.0}}}, r"registration\.per: the key 3 is not text"),
        (
            {"tables": [Table(title="T", columns=["a"], rows=[[float("nan")]])]},
            "'T', row 1, column 'a' is nan",
        ),
        ({"tables": [Table(title="T", columns=["a"], rows=[[1, 2]])]}, "'T', row 1: 2 cells under 1 columns"),
        ({"name": "../evil"}, "is no file name"),
        ({"files": {"a/../../evil.txt": ""}}, "a file cannot be called"),
        ({"files": {"/evil.txt": ""}}, "a file cannot be called"),
        ({"files": {"..\\evil.txt": ""}}, "a file cannot be called"),
        ({"files": {"C:evil.txt": ""}}, "a file cannot be called"),
        ({"files": {"": ""}}, "a file cannot be called"),
        ({"files": {"index.html": ""}}, "2 reports would write index.html"),
    ],
)
def test_unusable_reports_are_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(AnatomarkError, match=message):
        write(tmp_path / "report", make_report(**changes))
    assert list(tmp_path.iterdir()) == []


def test_unusable_training_curves_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match=r"metrics\.csv does not exist"):
        write(tmp_path / "report", make_report(), training_curves=tmp_path / "metrics.csv")
    assert list(tmp_path.iterdir()) == []


def test_two_reports_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match=r"2 reports would write registration\.json"):
        write(tmp_path / "report", make_report(), make_report())


def test_page_marks_published_cells_only(tmp_path: Path) -> None:
    page = Tags(write(tmp_path / "report", make_report()))
    marked = [
        (tag, "published" in (attrs.get("class") or "").split()) for tag, attrs in page.tags if tag in ("th", "td")
    ]
    assert marked == [("th", False), ("th", False), ("th", True)] + [("td", False), ("td", False), ("td", True)] * 2


def test_tables_on_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    wide = Table(title="Wide [bold]", columns=[f"c{i}" for i in range(9)], rows=[[1000.0 + i for i in range(9)]])
    print_tables([make_report(), make_report(tables=[wide])])
    shown = capsys.readouterr().out
    for text in (
        "Errors, fetal_head phantom",
        "39.3",
        "4.0",
        "9.8",
        "% of the HC long axis",
        "Wide [bold]",
        "1008",
    ):
        assert text in shown


def test_every_table_and_the_values_name_the_data_set() -> None:
    table = Table(title="Errors", columns=["a"], rows=[[1.0]], note="in percent")
    report = Report(name="x", title="X", values={"n": 1}, tables=[table, table])
    named = name_data_set(report, "fetal_head phantom")
    assert named.values == {"data_set": "fetal_head phantom", "n": 1}
    assert [t.title for t in named.tables] == ["Errors; fetal_head phantom"] * 2
    assert named.tables[0].note == "in percent"
    assert report.values == {"n": 1}


def test_an_evaluation_is_described_by_the_command_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.orig_argv", ["/usr/bin/python3", "evaluate.py", "run=A"])
    monkeypatch.setattr("sys.argv", ["evaluate.py", "model=saliency", "run=A"])  # with the run's own choices put in
    info = describe_evaluation("OSIE", ["A"], 3)
    assert info["command"] == "python evaluate.py run=A"
    assert (info["data_set"], info["runs"], info["seed"]) == ("OSIE", ["A"], 3)
