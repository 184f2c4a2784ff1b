import io
from dataclasses import dataclass, field

from loom_dagster.cli.terminal import Terminal
from loom_dagster.cli.validate import Checked, show
from loom_dagster.errors import Problem


class Page(io.StringIO):
    encoding = "utf-8"


@dataclass
class Line:
    level: str
    text: str


@dataclass
class Report:
    """The shape of assembly.Report."""

    version: str | None = "2.1.0"
    sections: dict = field(default_factory=dict)
    problems: tuple = ()

    @property
    def ok(self):
        return not any(p.level == "error" for p in self.problems)


BAD = Problem(what="no column `txt`", where="prompts/a.txt:3", fix="did you mean `text`?")
ODD = Problem(what="it is not locked", where="prompts/a.txt", level="warning")


def page(*checked, rest=()):
    stream = Page()
    show(checked, rest, Terminal(stream, {}))
    return stream.getvalue()


def test_a_valid_pipeline_has_its_sections_and_ticks():
    report = Report(sections={"Pipeline Definition": [Line("ok", "YAML syntax valid")]})
    assert page(Checked(name="p", report=report, problems=())).splitlines() == [
        "Validating: p (v2.1.0)",
        "",
        "Pipeline Definition:",
        "  ✅ YAML syntax valid",
        "",
        "Pipeline is valid ✅",
    ]


def test_problems_stand_in_their_section_once():
    sections = {"Prompts": [Line("ok", "a.txt"), Line("error", str(BAD)), Line("warning", str(ODD))]}
    checked = Checked(name="p", report=Report(sections=sections, problems=(BAD, ODD)), problems=(BAD, ODD))
    shown = page(checked)
    assert "  ❌ prompts/a.txt:3: no column `txt` (did you mean `text`?)" in shown
    assert "  ⚠  prompts/a.txt: it is not locked" in shown
    assert shown.count("no column") == 1
    assert shown.rstrip().endswith("Pipeline is not valid ❌: 1 error, 1 warning")
    assert not checked.valid


def test_a_warning_leaves_it_valid():
    checked = Checked(name="p", report=Report(problems=(ODD,)), problems=(ODD,))
    assert checked.valid
    shown = page(checked)
    assert "Pipeline is valid ✅: 1 warning" in shown
    assert "it is not locked" in shown  # also when no section shows it


def test_a_file_that_no_report_can_be_made_for():
    checked = Checked(name="p", report=None, problems=(BAD,))
    assert not checked.valid
    assert "no column" in page(checked)
    assert checked.document()["problems"][0]["where"] == "prompts/a.txt:3"


def test_several_end_with_a_count():
    good = Checked(name="a", report=Report(), problems=())
    bad = Checked(name="b", report=None, problems=(BAD,))
    assert page(good, bad, rest=(ODD,)).rstrip().endswith("1 of 2 pipelines valid")
