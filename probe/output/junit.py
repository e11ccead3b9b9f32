"""`junit`: JUnit XML for Jenkins, GitLab, Azure DevOps and Bamboo; a test case a stage.

There is no standard; https://github.com/testmoapp/junitxml collects what the readers take. Jenkins shows the text of a failure,
GitLab its message, so both carry it. Characters that XML 1.0 (section 2.2) cannot hold are removed. A warning is a passed case with
`system-out`, since the format has no third state.
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from probe.output import Context
from probe.output._safe import safe
from probe.output._words import distinct, of_stage, plain_label, told, unexplained, without_stage
from probe.report import Finding, Report, Stage

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(reports: Sequence[Report], context: Context) -> str:
    """`testsuites` with one suite for each report."""
    suites = [_suite(report, name) for report, name in zip(reports, distinct(reports), strict=True)]
    root = ET.Element("testsuites", {"name": "submission-probe", "time": f"{context.seconds:.6f}", **_sums(suites)})
    root.extend(suites)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _sums(suites: Sequence[ET.Element]) -> dict[str, str]:
    return {key: str(sum(int(suite.get(key, "0")) for suite in suites)) for key in ("tests", "failures", "errors", "skipped")}


def _suite(report: Report, name: str) -> ET.Element:
    """The class name is the profile's for every run of it; a second run of one profile gets other test names."""
    classname = f"submission-probe.{legal(report.profile)}"
    mark = "" if name == plain_label(report.profile) else f" ({name})"
    cases = [_case(report, stage, classname, mark) for stage in report.stages]
    cases += [_extra(finding, classname, mark, index) for index, finding in enumerate(without_stage(report), 1)]
    if why := unexplained(report):
        cases.append(_broken(why, classname, mark))
    suite = ET.Element("testsuite", {"name": f"{classname}{mark}", "timestamp": _timestamp(report)})
    counts = {key: sum(case.find(tag) is not None for case in cases) for key, tag in _TAGS.items()}
    suite.attrib |= {"tests": str(len(cases)), **{key: str(count) for key, count in counts.items()}}
    suite.attrib |= {"time": f"{report.seconds:.6f}", "hostname": legal(report.target.host)}
    suite.extend(cases)
    return suite


_TAGS = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def _timestamp(report: Report) -> str:
    """ISO 8601 without fraction and zone, as the readers' own schemas want it; it is UTC."""
    return legal(report.started)[:19]


def _case(report: Report, stage: Stage, classname: str, mark: str) -> ET.Element:
    case = _element(f"{stage.name}{mark}", classname, stage.record.seconds)
    findings = of_stage(report, stage.name)
    if stage.status == "skipped":
        ET.SubElement(case, "skipped", {"message": legal(stage.record.reason or "")})
    elif stage.status == "failed":
        worst = findings[0] if findings else None
        words = [legal(line) for finding in findings for line in told(finding)] or [legal(stage.record.reason or "failed")]
        message = legal(worst.summary) if worst else words[0]
        ET.SubElement(case, "failure", {"type": legal(worst.id if worst else "failed"), "message": message}).text = "\n".join(words)
        return case
    if findings:
        ET.SubElement(case, "system-out").text = "\n".join(legal(line) for finding in findings for line in told(finding))
    return case


def _extra(finding: Finding, classname: str, mark: str, index: int) -> ET.Element:
    case = _element(f"{finding.id} {index}{mark}", classname, 0.0)
    text = "\n".join(legal(line) for line in told(finding))
    if finding.severity == "critical":
        ET.SubElement(case, "failure", {"type": legal(finding.id), "message": legal(finding.summary)}).text = text
    else:
        ET.SubElement(case, "system-out").text = text
    return case


def _broken(why: str, classname: str, mark: str) -> ET.Element:
    case = _element(f"run{mark}", classname, 0.0)
    ET.SubElement(case, "error", {"type": "unknown", "message": legal(why)}).text = legal(why)
    return case


def _element(name: str, classname: str, seconds: float) -> ET.Element:
    return ET.Element("testcase", {"name": legal(name), "classname": classname, "time": f"{seconds:.6f}"})


def legal(text: str) -> str:
    """Text without the characters that no XML 1.0 document can hold, not even escaped; other control characters are shown."""
    return re.sub(r"[^\t\n\r]+", lambda found: safe(found[0]), _ILLEGAL.sub("", text))
