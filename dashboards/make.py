"""Write the dashboards and the rules: `python -m dashboards.make`. What it writes is committed; a test compares."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.alerts import ALERTS, RECORDED, Alert
from dashboards.boards import BOARDS
from dashboards.panels import Board, Panel
from pipeline.events.values import Family

HERE = Path(__file__).parent
RULES = HERE / "rules"
_SOURCE = models.DataSourceRef("prometheus", "${datasource}")
_HEIGHT, _NUMBER_HEIGHT = 8, 6
_EVERY = {"objectives": "30s", "review": "30s", "quality": "2m", "causes": "30s"}


def board_json(board: Board) -> str:
    """Grafana's JSON of one dashboard."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["unmask"])
        .timezone("utc")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(dashboard.DashboardLink("Unmask").type(models.DashboardLinkType.DASHBOARDS).tags(["unmask"]))
    )
    if board.families:
        choices = dashboard.CustomVariable("family").label("Family").values(",".join(Family))
        every = models.VariableOption(text="All", value="$__all", selected=True)
        made.with_variable(choices.include_all(True).all_value(".*").current(every))
    y = 0
    number = 0
    for row in board.rows:
        made.with_row(dashboard.Row(row.title).grid_pos(models.GridPos(h=1, w=24, x=0, y=y)))
        y, x, tallest = y + 1, 0, 0
        for panel in row.panels:
            height = _NUMBER_HEIGHT if panel.kind == "number" else _HEIGHT
            if x + panel.width > 24:
                y, x, tallest = y + tallest, 0, 0
            number += 1
            place = models.GridPos(h=height, w=panel.width, x=x, y=y)
            made.with_panel(_panel(panel).id(number).grid_pos(place))
            x, tallest = x + panel.width, max(tallest, height)
        y += tallest
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(made.build())), indent=1, sort_keys=True) + "\n"


def _panel(panel: Panel) -> Any:
    made = {
        "lines": _lines,
        "stacked": _stacked,
        "number": _number,
        "bars": _bars,
        "heatmap": _heatmap,
    }[panel.kind](panel)
    about = f"{panel.why} Empty while {panel.empty}." if panel.empty else panel.why
    made.title(panel.title).description(about).datasource(_SOURCE).unit(panel.unit)
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        asked = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend)
        if panel.kind in ("number", "bars"):
            asked = asked.instant()
        if panel.kind == "heatmap":
            asked = asked.format(PromQueryFormat.HEATMAP)
        if panel.traced:
            asked = asked.exemplar(True)
        made.with_target(asked)
    return made


def _limits(panel: Panel) -> dashboard.ThresholdsConfig:
    if panel.limit is None:
        steps = [models.Threshold(None, "green")]
    elif panel.below:
        steps = [models.Threshold(None, "red"), models.Threshold(panel.limit, "green")]
    else:
        steps = [models.Threshold(None, "green"), models.Threshold(panel.limit, "red")]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> Any:
    legend = (
        common.VizLegendOptions()
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    made = timeseries.Panel().legend(legend).fill_opacity(8).show_points(shapes.VisibilityMode.NEVER)
    if panel.limit is not None:
        line = common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        made = made.thresholds(_limits(panel)).thresholds_style(line)
    return made


def _stacked(panel: Panel) -> Any:
    return _lines(panel).stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL)).fill_opacity(40)


def _latest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _number(panel: Panel) -> Any:
    return stat.Panel().reduce_options(_latest()).thresholds(_limits(panel)).graph_mode(shapes.BigValueGraphMode.NONE)


def _bars(panel: Panel) -> Any:
    across = shapes.VizOrientation.HORIZONTAL
    return bargauge.Panel().reduce_options(_latest()).thresholds(_limits(panel)).orientation(across).min(0)


def _heatmap(panel: Panel) -> Any:
    return heatmap.Panel().calculate(False).y_axis(heatmap.YAxisConfig().unit(panel.unit))


def rules_yaml(name: str) -> str:
    """One file of rules, as Prometheus reads it."""
    rules: list[dict[str, object]] = [{"record": each.name, "expr": each.expr} for each in RECORDED.get(name, ())]
    rules += [_alert(each) for each in ALERTS.get(name, ())]
    group = {"name": f"unmask-{name}", "interval": _EVERY[name], "rules": rules}
    head = "# Written by `python -m dashboards.make`; change dashboards/alerts.py instead.\n"
    return head + yaml.dump({"groups": [group]}, sort_keys=False, allow_unicode=True, width=4096)


def _alert(alert: Alert) -> dict[str, object]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasts,
        "labels": {"severity": alert.severity, **alert.labels},
        "annotations": {
            "summary": alert.summary,
            "runbook_url": f"docs/runbooks/{alert.runbook}.md#{alert.name.lower()}",
            "dashboard": alert.board,
        },
    }


def all_files() -> dict[Path, str]:
    """Every file and what has to be in it."""
    boards = {HERE / f"{board.uid.removeprefix('unmask-')}.json": board_json(board) for board in BOARDS}
    return boards | {RULES / f"{name}.yaml": rules_yaml(name) for name in _EVERY}


def expressions(text: str) -> list[str]:
    """The queries of a dashboard's JSON, in order."""
    return [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", ())]


def plain(expr: str, window: str = "1m") -> str:
    """What Grafana makes of a query before it asks Prometheus."""
    return re.sub(r"\$family\b", ".*", expr.replace("$__rate_interval", window))


def main() -> None:
    """Write every file."""
    for path, text in all_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
