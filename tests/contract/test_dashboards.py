"""Metrics, dashboards, rules, alerts, promtool tests and runbooks say the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from dashboards.alerts import ALERTS, RECORDED, Alert
from dashboards.boards import BOARDS
from dashboards.make import HERE, RULES, all_files, expressions, plain
from dashboards.objectives import OUR_REASONS
from dashboards.panels import Panel
from pipeline.console.metrics import ConsoleMetrics
from pipeline.errors import Reason
from pipeline.metrics import Metrics, OutboxMetrics
from pipeline.policy.file import load

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "dashboards.md"
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTMANAGER = HERE / "alertmanager.yaml"
TESTS = HERE / "rules" / "tests"
ALL = [alert for alerts in ALERTS.values() for alert in alerts]
NAMES = sorted({alert.name for alert in ALL})
PANELS = [panel for board in BOARDS for panel in board.panels]
PARTS = ("First look", "Likely causes", "Commands", "Undo")
TRITON = frozenset(
    {
        *(f"nv_inference_{part}_duration_us" for part in ("request", "queue", "compute_input", "compute_infer")),
        *(f"nv_inference_{what}" for what in ("compute_output_duration_us", "count", "exec_count")),
        *(f"nv_inference_{what}" for what in ("request_success", "request_failure", "pending_request_count")),
        *("nv_cpu_utilization", "nv_cpu_memory_used_bytes", "nv_cpu_memory_total_bytes"),
        *("nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"),
    }
)
"""Triton's metrics guide, 24.10."""


def selectors(expr: str) -> list[str]:
    """`name{labels}` of each series that an expression reads, without range and offset."""
    return [match[0] for match in re.finditer(r"\b(?:unmask|nv|process)[a-z0-9_:]*(?::\w+)*(?:\{[^}]*\})?", expr)]


def named(expr: str) -> set[str]:
    """The metrics of an expression."""
    return {selector.split("{")[0] for selector in selectors(re.sub(r"\b(by|on|group_left) ?\([^)]*\)", "", expr))}


def declared() -> dict[str, set[str]]:
    """Every series that workers and consoles have, with its labels."""
    workers, consoles = CollectorRegistry(), CollectorRegistry()
    policy = load(None)
    metrics = Metrics(workers)
    metrics.policy(policy.version, policy.fusion_version, policy.queues, 0.0, policy.names)
    metrics.build.labels("0")
    ConsoleMetrics(consoles).queues(policy.queues)
    found: dict[str, set[str]] = {}
    for registry in (workers, consoles):
        for collector in list(registry._collector_to_names):
            labels = set(getattr(collector, "_labelnames", ()))
            for name in registry._collector_to_names[collector]:
                more = {"le"} if name.endswith("_bucket") else set()
                found[name] = labels | more
    return found | {
        sample.name: set() for metric in ProcessCollector(registry=None).collect() for sample in metric.samples
    }


DECLARED = declared()
RECORDS = {rule.name for rules in RECORDED.values() for rule in rules}


def test_what_is_committed_is_what_the_code_writes():
    """`python -m dashboards.make` changes nothing, and nothing else lies there."""
    made = all_files()
    assert {path: path.read_text(encoding="utf-8") for path in made} == made
    assert {*HERE.glob("*.json"), *RULES.glob("*.yaml")} == made.keys()


def test_dashboards_ask_what_the_boards_say():
    """The JSON has every query of every panel, and each panel a title and a why."""
    for board in BOARDS:
        text = (HERE / f"{board.uid.removeprefix('unmask-')}.json").read_text(encoding="utf-8")
        assert expressions(text) == [query.expr for panel in board.panels for query in panel.queries]
        read = json.loads(text)
        assert read["uid"] == board.uid
        assert all(panel["title"] and (panel["type"] == "row" or panel["description"]) for panel in read["panels"])
        places = [tuple(panel["gridPos"].values()) for panel in read["panels"]]
        assert len(set(places)) == len(places)


def everything() -> dict[str, str]:
    """Every expression, under where it stands."""
    found = {f"{panel.title}: {query.legend}": plain(query.expr) for panel in PANELS for query in panel.queries}
    found |= {rule.name: rule.expr for rules in RECORDED.values() for rule in rules}
    return found | {f"{alert.name} {alert.labels}": alert.expr for alert in ALL}


@pytest.mark.parametrize(("where", "expr"), everything().items())
def test_every_query_reads_what_exists_by_labels_that_it_has(where: str, expr: str):
    """A metric that is renamed, or a label that was never there, is found here and not at three in the morning."""
    assert named(expr)
    for selector in selectors(re.sub(r"\b(by|on|group_left) ?\([^)]*\)", "", expr)):
        name, _, rest = selector.partition("{")
        if name in TRITON or name in RECORDS:
            continue
        assert name in DECLARED, name
        labels = set(re.findall(r"(\w+)(?:=~|!=|!~|=)", rest))
        assert labels <= DECLARED[name] | {"job", "instance"}, selector


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_grouping_labels_exist(panel: Panel):
    """`by (…)` names labels that some metric of the query has."""
    for query in panel.queries:
        groups = {label for found in re.findall(r"\bby ?\(([^)]*)\)", query.expr) for label in found.split(", ")}
        known = {label for name in named(plain(query.expr)) for label in DECLARED.get(name, ())}
        triton = {"model", "reason"} if named(query.expr) & TRITON else set()
        recorded = {"family", "queue"} if named(query.expr) & RECORDS else set()
        assert groups <= known | triton | recorded | {"le"}


def test_our_reasons_are_reasons():
    """The budget counts causes that exist."""
    assert set(OUR_REASONS) <= {reason.value for reason in Reason}


def metrics_table() -> str:
    """Every metric of Unmask's own, from the code."""
    workers, consoles, relays = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    Metrics(workers)
    ConsoleMetrics(consoles)
    OutboxMetrics(relays)
    both = {name for names in relays._collector_to_names.values() for name in names}
    lines = ["| metric | labels | of | what |", "|---|---|---|---|"]
    for part, registry in (("worker", workers), ("console", consoles)):
        for collector, names in registry._collector_to_names.items():
            who = "console, relay" if both.issuperset(names) else part
            (metric,) = collector.describe()
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            labels = ", ".join(f"`{label}`" for label in getattr(collector, "_labelnames", ())) or "–"
            lines.append(f"| `{name}` ({metric.type}) | {labels} | {who} | {metric.documentation} |")
    return "\n".join(lines)


def in_document(text: str) -> str:
    """The document with its table as it has to be."""
    head, rest = text.split("<!-- metrics:", 1)
    marker, after = rest.split("-->", 1)
    return f"{head}<!-- metrics:{marker}-->\n{metrics_table()}\n<!-- end -->{after.split('<!-- end -->', 1)[1]}"


def test_every_metric_is_documented():
    """The table is what the code says; `python -m tests.contract.test_dashboards` writes it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == in_document(text)


def test_every_dashboard_has_a_picture():
    """Of a size that a page can bear."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for board in BOARDS:
        name = f"pictures/dashboard-{board.uid.removeprefix('unmask-')}.png"
        assert f"({name})" in text
        assert 10_000 < (DOCUMENT.parent / name).stat().st_size < 250_000


def test_every_metric_is_shown_or_alerted_on():
    """A metric that nobody looks at is no use, or its panel was forgotten."""
    unseen_by_choice = {
        "unmask_policy_active_since_seconds": "the policy's history is in the ledger",
        "unmask_policy_reloads_total": "refused ones set unmask_policy_refused",
        "unmask_bank_entries": "of use by hand, after a bank was loaded",
        "unmask_review_held_tasks": "of use by hand",
    }
    shown = {name for expr in everything().values() for name in named(expr)}

    def family(name: str) -> str:
        return re.sub(r"_(bucket|sum|count|created|total|info)$", "", name)

    families = {family(name) for name in DECLARED if name.startswith("unmask_")}
    missing = families - {family(name) for name in shown} - {family(name) for name in unseen_by_choice}
    assert missing == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_runbook_section_that_says_what_to_do(name: str):
    """Its link leads to a heading of its name, with all four parts under it."""
    for alert in (each for each in ALL if each.name == name):
        text = (RUNBOOKS / f"{alert.runbook}.md").read_text(encoding="utf-8")
        sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
        assert alert.name in sections
        for part in PARTS:
            assert f"**{part}.**" in sections[alert.name], part
        assert sections[alert.name].lstrip().startswith(f"{alert.severity} · ")


def test_no_runbook_speaks_of_an_alert_that_is_gone():
    """Every section belongs to an alert."""
    words = "\n".join(path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("*.md"))
    assert set(re.findall(r"^## (\w+)", words, re.MULTILINE)) == set(NAMES)


def test_runbooks_name_commands_and_settings_that_exist():
    """`unmask …` and UNMASK_… in a runbook are real."""
    from typer.main import get_command

    from pipeline.cli import app
    from pipeline.settings import Settings

    commands = get_command(app)
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for words in re.findall(r"(?:^|`)unmask ([a-z-]+(?: [a-z-]+)?)", text, re.MULTILINE):
            first, *rest = words.split()
            command = commands.commands[first]  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                assert rest, words
                assert rest[0] in command.commands, words
        settings = {f"UNMASK_{name.upper()}" for name in Settings.model_fields}
        assert set(re.findall(r"UNMASK_[A-Z_]+", text)) <= settings


@pytest.mark.parametrize("alert", ALL, ids=lambda alert: f"{alert.name}{alert.labels.get('agent', '')}")
def test_every_alert_leads_to_a_dashboard_that_shows_it(alert: Alert):
    """What an alert reads is on the dashboard that it names, in some form."""
    board = next(board for board in BOARDS if board.uid == alert.board)
    shown = {name for panel in board.panels for query in panel.queries for name in named(plain(query.expr))}

    def read(names: set[str]) -> set[str]:
        sources = {rule.name: named(rule.expr) for rules in RECORDED.values() for rule in rules}
        return names | {source for name in names & sources.keys() for source in sources[name]}

    not_shown_there = {
        "UnmaskNoWorker": "absence",
        "UnmaskConsoleDown": "absence",
        "UnmaskPolicyRefused": "the log of the worker says what was refused",
    }
    assert read(named(alert.expr)) & read(shown) or alert.name in not_shown_there


def test_the_rules_are_sound():
    """promtool reads every file."""
    _promtool("check", "rules", *sorted(RULES.glob("*.yaml")))


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path):
    """promtool plays each test's series through the rules."""
    _promtool("test", "rules", path)


def test_every_alert_is_tested_to_fire_and_not_to():
    """Each has a case in which it fires and one in which it does not."""
    fires: set[str] = set()
    silent: set[str] = set()
    for path in TESTS.glob("*.yaml"):
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for expected in case["alert_rule_test"]:
                (fires if expected["exp_alerts"] else silent).add(expected["alertname"])
    assert fires == set(NAMES)
    assert silent == set(NAMES)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pages"), ("ticket", "tickets")])
def test_alerts_go_where_their_severity_says(severity: str, receiver: str):
    """Alertmanager reads its configuration and routes by severity."""
    _run("amtool", "check-config", ALERTMANAGER)
    words = ("config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}")
    _run("amtool", *words, f"severity={severity}")


def test_only_alerts_that_exist_are_kept_quiet():
    """Inhibitions name alerts, and leave none of the rest out by mistake."""
    for rule in yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            for pattern in re.fullmatch(r'alertname=~?"(.+)"', matcher)[1].split("|"):
                assert any(re.fullmatch(pattern, name) for name in NAMES), pattern


def _promtool(*words: str | Path) -> None:
    _run("promtool", *words)


def _run(name: str, *words: str | Path) -> None:
    program = shutil.which(name)
    assert program, f"{name} is missing: `make system` installs it"
    done = subprocess.run([program, *map(str, words)], check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    DOCUMENT.write_text(in_document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
