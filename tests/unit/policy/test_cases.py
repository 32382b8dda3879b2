"""Cases beside a policy: they hold or say what came instead, and a typo in one is an error with its place."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ConfigError
from pipeline.policy.cases import Cases, Ran, beside, read
from pipeline.policy.file import DEFAULT, load

POLICY = load(None)


def ran(text: str) -> Ran:
    return Cases(text, "x.cases.yaml", POLICY).run()


def case(given: str, expect: str) -> str:
    return f"cases:\n  - name: one\n    given: {given}\n    expect: {expect}\n"


def test_what_is_not_said_is_usual() -> None:
    """A case that gives nothing is a genuine picture in a post of which every required family was judged."""
    (result,) = ran(case("{}", "{action: allow, queue: none, label: none, clock: none, harm: none}")).results
    assert result.held
    assert result.decision.trace == ()


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("{signals: {face_swap: 0.91}}", "{action: limit, queue: faces, priority: 60, within: 4h}"),
        ("{signals: {face_swap: missing}}", "{action: limit, fires: [not-judged-in-full], silent: [likely-face-swap]}"),
        ("{signals: {face_swap: {probability: 0.1, coverage: 0.1}}}", "{says: looked at 10 %}"),
        ("{signals: {face_swap: {probability: 0.5, status: scored}}}", "{fires: [face-swap-in-doubt]}"),
        ("{signals: {face_swap: not_applicable, face_synthesis: not_applicable}}", "{action: allow, queue: none}"),
        ("{signals: {face_swap: 0.91}, purposes: [art], regions: [US]}", "{action: allow, exempted_by: declared-art}"),
        ("{failure: media_bomb}", "{action: hold, says: unpacks to far more}"),
        ("{request: {kind: removal, ago: 23h}}", "{clock: promised-answer, within: 1h}"),
        ("{known: [{bank: intimate-a, live: false}]}", "{action: allow}"),
        ("{known: [{bank: intimate-a, distance: 30, share: 0.2}]}", "{action: hold, harm: intimate-imagery}"),
        ("{consent: {reference: c-1, until: 2026-09-01T12:00:00Z}}", "{fires: [consent-ended]}"),
        ("{consent: {reference: c-1, until: 2026-09-01T12:00:01Z}}", "{action: allow, silent: [consent-ended]}"),
    ],
)
def test_given_and_expected(given: str, expect: str) -> None:
    """Signals, context, consent, requests, matches, failures and times reach the policy as they are written."""
    (result,) = ran(case(given, expect)).results
    assert result.misses == ()


@pytest.mark.parametrize(
    ("given", "expect", "what", "came"),
    [
        ("{}", "{action: limit}", "action", "allow"),
        ("{}", "{queue: faces}", "queue", "none"),
        ("{}", "{priority: 10}", "priority", "none"),
        ("{}", "{within: 4h}", "within", "nobody looks"),
        ("{signals: {face_swap: 0.91}}", "{within: 3h}", "within", "4h"),
        ("{signals: {face_swap: 0.91}}", "{clock: in-order}", "clock", "none"),
        ("{declared_synthetic: true}", "{label: none}", "label", "AI-generated, as the uploader says"),
        ("{}", "{harm: fraud}", "harm", "none"),
        ("{}", "{fires: [known-scam]}", "fires", "nothing"),
        ("{declared_synthetic: true}", "{silent: [declared-synthetic]}", "silent", "it acts"),
        ("{declared_synthetic: true}", "{shadow: [declared-synthetic]}", "shadow", "nothing"),
        ("{signals: {face_swap: 0.91}}", "{exempted_by: consented}", "exempted_by", "nothing"),
        ("{}", "{says: fraud}", "says", "Nothing was found that the policy acts on."),
        ("{}", "{regions: {DE: {action: hold}}}", "regions.DE.action", "allow"),
        ("{}", "{regions: {DE: {action: allow, label: x}}}", "regions.DE.label", "none"),
    ],
)
def test_a_difference_names_what_came_instead(given: str, expect: str, what: str, came: str) -> None:
    """Each expectation can fail, and says in which line, what was expected and what came."""
    outcome = ran(case(given, expect))
    (miss,) = outcome.results[0].misses
    assert not outcome.held
    assert (miss.line, miss.what, miss.came) == (4, what, came)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        (case("{signals: {face_swop: 0.9}}", "{action: hold}"), "line 3, column 23", "face_swop"),
        (case("{surfaces: ad}", "{action: hold}"), "line 3, column 13", "unknown field `surfaces`"),
        (case("{surface: adverts}", "{action: hold}"), "line 3, column 13", "adverts"),
        (case("{consent: {ref: c}}", "{action: hold}"), "line 3, column 23", "unknown field `ref`"),
        (case("{}", "{action: restrict}"), "line 4, column 14", "restrict"),
        (case("{}", "{queue: fases}"), "line 4, column 14", "no queue 'fases'; did you mean 'faces'?"),
        (case("{}", "{fires: [likely-face-swop]}"), "line 4, column 22", "did you mean 'likely-face-swap'?"),
        (case("{}", "{shadow: [unreadable]}"), "line 4, column 23", "no rule 'unreadable'"),
        (case("{}", "{clock: in-odrer}"), "line 4, column 14", "did you mean 'in-order'?"),
        (case("{}", "{}"), "line 4, column 5", "expects nothing"),
        (case("{}", "{action: allow}") * 2, "line 5, column 1", "'cases' is given twice"),
    ],
)
def test_a_typo_in_a_case_is_an_error_with_its_place(text: str, place: str, why: str) -> None:
    """What a case says and nobody knows would make it hold for the wrong reason: it is refused."""
    with pytest.raises(ConfigError) as error:
        ran(text)
    assert place in str(error.value)
    assert why in str(error.value)


@pytest.mark.parametrize("text", ["", "cases: []", "cases: 3", "- a", "cases: [{}]\nmore: 1"])
def test_a_file_without_cases_is_refused(text: str) -> None:
    """Nothing to hold is no success."""
    with pytest.raises(ConfigError, match=r"needs `cases:`"):
        ran(text)


def test_a_name_that_is_used_twice_is_refused() -> None:
    """A failure must name one case."""
    one = "  - {name: one, given: {}, expect: {action: allow}}\n"
    with pytest.raises(ConfigError, match=r"line 3, column 6: name .*'one' is used twice"):
        ran(f"cases:\n{one}{one}")


def test_what_no_case_exercises_is_told() -> None:
    """Rules, fail modes, exemptions and clocks that never act in a case are listed; those that act are not."""
    idle = ran(case("{signals: {face_swap: 0.91}, purposes: [satire], tags: [election]}", "{action: allow}")).idle
    assert "likely-face-swap" in idle["rules"]
    assert "civic-satire" not in idle["rules"]
    assert "declared-art" not in idle["exemptions"]
    assert "consented" in idle["exemptions"]
    assert "in-order" in idle["clocks"]
    assert "unreadable" in idle["fail modes"]


def test_cases_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there, or is no text, is the operator's to mend."""
    assert beside(Path("a/house.yaml")) == Path("a/house.cases.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.cases.yaml", POLICY)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read(tmp_path / "x.yaml", POLICY)


def test_the_command_says_what_fails_and_ends_with_1(tmp_path: Path) -> None:
    """The table has the line and what came instead, JSON the same for machines; a policy's cases lie beside it."""
    policy = tmp_path / "house.yaml"
    policy.write_text(DEFAULT.read_text("utf-8").replace("swap_likely: 0.83", "swap_likely: 0.95"), "utf-8")
    text = case("{signals: {face_swap: 0.91}}", "{action: limit}")
    (tmp_path / "house.cases.yaml").write_text(text, "utf-8")
    told = CliRunner().invoke(app, ["policy", "test", str(policy)])
    assert told.exit_code == 1
    assert "line 4: action should be limit, came: allow" in told.output
    assert "0 of 1 cases hold" in told.output
    machine = CliRunner().invoke(app, ["policy", "test", str(policy), "--json"])
    assert machine.exit_code == 1
    outcome = msgspec.json.decode(machine.stdout)
    assert outcome["results"][0]["misses"][0]["came"] == "allow"
    shipped = CliRunner().invoke(app, ["policy", "test", "--cases", str(tmp_path / "house.cases.yaml")])
    assert shipped.exit_code == 0
    assert "no case for" in shipped.output
