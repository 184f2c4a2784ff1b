"""The files in deploy/: each is what its own tool takes, and they agree with each other and with the project."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes
import kubernetes_validate
import pytest
import yaml
from celery.bin.celery import celery as celery_cli
from compose_spec import PyCompose
from dagster._cli import create_dagster_cli
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_docker import DockerRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
from dagster_k8s.launcher import K8sRunLauncher
from dagster_webserver.cli import create_dagster_webserver_cli

from loom_dagster.settings import Settings
from tests.deploy.deployed import DEPLOY, pg_environ
from tests.servers.databases import Postgres

ROOT = DEPLOY.parent
COMPOSE = ("docker-compose.yaml", "docker-compose.celery.yaml")
KUBERNETES = "1.34"
OURS = {f"LOOM_{field.name.upper()}" for field in fields(Settings)}
SECRET = re.compile(r"PASSWORD|_KEY$|_TOKEN$|SECRET")
DAGSTERS = {
    "dagster": create_dagster_cli,
    "dagster-webserver": create_dagster_webserver_cli,
    "dagster-daemon": create_dagster_daemon_cli,
    "celery": lambda: celery_cli,
}


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    """Of both files, the second over the first."""
    found: dict[str, dict[str, Any]] = {}
    for name in COMPOSE:
        for service, given in read(name)["services"].items():
            known = found.setdefault(service, {})
            environment = {**known.get("environment", {}), **given.get("environment", {})}
            known.update(given | {"environment": environment})
    return found


@pytest.mark.parametrize("name", COMPOSE)
def test_a_compose_file_is_one(name: str) -> None:
    text = json.dumps(read(name))
    PyCompose.from_json(
        re.sub(r"\$\{\w+:(?:-([^}]*)|\?[^}]*)\}", r"\1", text)
    )  # raises for what compose does not know


def test_every_command_of_the_compose_files_is_one(services: Mapping[str, Any]) -> None:
    checked = set()
    for service in services.values():
        probes = [service.get("healthcheck", {}).get("test", ["CMD"])[1:]]
        for program, *words in [command for command in (service.get("command", []), *probes) if command]:
            if program not in DAGSTERS:
                continue
            node = DAGSTERS[program]()
            args = [
                str(DEPLOY / word.removeprefix("/opt/dagster/")) if "/opt/" in word else word
                for word in words
            ]
            if program == "celery":
                assert importlib.import_module(args.pop(1)).app and args.pop(0) == "-A"
            while hasattr(node, "commands"):
                node, args = node.commands[args[0]], args[1:]
            node.make_context(
                program, args, resilient_parsing=program == "celery"
            )  # raises for what it does not know
            checked.add(program)
    assert checked == set(DAGSTERS)


def test_every_setting_that_is_named_is_one_and_no_secret_stands_in_a_file(
    services: Mapping[str, Any],
) -> None:
    deployment = read("kubernetes/values.yaml")["dagster-user-deployments"]["deployments"][0]
    given = {name: value for service in services.values() for name, value in service["environment"].items()}
    given |= {one["name"]: one.get("value", "${from a secret}") for one in deployment["env"]}
    assert {name for name in given if name.startswith("LOOM_")} <= OURS
    assert {"LOOM_LEDGER", "LOOM_ANSWERS", "LOOM_STATE", "LOOM_PARTITIONS_PER_RUN"} <= set(given)
    for name, value in given.items():
        if SECRET.search(name):
            assert str(value).startswith("${"), f"{name} stands in a file"
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert not re.search(r"://[^/\s:@]*:[^$@\s/][^@\s/]*@", path.read_text(encoding="utf-8")), path


def test_the_example_of_the_environment_names_what_compose_asks_for() -> None:
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    wanted = {
        name for file in COMPOSE for name in re.findall(r"\$\{(\w+):\?", (DEPLOY / file).read_text("utf-8"))
    }
    known = {
        name for file in COMPOSE for name in re.findall(r"\$\{(\w+)", (DEPLOY / file).read_text("utf-8"))
    }
    assert wanted <= set(example) <= known
    assert not any(value for name, value in example.items() if SECRET.search(name))


def test_a_run_in_docker_has_the_variables_and_volumes_of_the_code_location(
    services: Mapping[str, Any],
) -> None:
    launcher = read("docker/dagster.yaml")["run_launcher"]["config"]
    environment = set(services["daemon"]["environment"])
    assert set(launcher["env_vars"]) <= environment
    own = {"DAGSTER_HOME", "DAGSTER_CURRENT_IMAGE", "DAGSTER_CELERY_BROKER_URL", "DAGSTER_CELERY_BACKEND_URL"}
    assert set(services["code"]["environment"]) - own == set(launcher["env_vars"])
    volumes = read(COMPOSE[0])["volumes"]
    named = {f"{volumes[v.split(':')[0]]['name']}:{v.split(':')[1]}" for v in services["code"]["volumes"]}
    assert named == set(launcher["container_kwargs"]["volumes"])
    assert launcher["network"] == read(COMPOSE[0])["networks"]["default"]["name"]


@pytest.mark.service
@pytest.mark.parametrize("kind", ["docker", "celery"])
def test_dagster_takes_its_instance(kind: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = {f"DAGSTER_CELERY_{what}_URL": "redis://:word@127.0.0.1:1/0" for what in ("BROKER", "BACKEND")}
    for name, value in (pg_environ(postgres.database()) | brokers).items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(DEPLOY / kind)) as instance:
        assert (
            type(instance.run_launcher).__name__
            == {"docker": "DockerRunLauncher", "celery": "CeleryRunLauncher"}[kind]
        )
        assert isinstance(instance.run_launcher, DockerRunLauncher) is (kind == "docker")
        assert instance.get_runs_count() == 0  # the server is asked
        assert instance.run_retries_enabled and not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.get_concurrency_config().run_queue_config.tag_concurrency_limits
    assert (
        read(f"{kind}/workspace.yaml")["load_from"][0]["grpc_server"]["host"] in read(COMPOSE[0])["services"]
    )


def test_the_volume_of_kubernetes_is_one() -> None:
    kubernetes_validate.validate(read("kubernetes/state.yaml"), KUBERNETES, strict=True)


def test_what_the_chart_hands_on_to_dagster_is_taken_and_makes_a_job_that_kubernetes_takes() -> None:
    values = read("kubernetes/values.yaml")
    deployment = values["dagster-user-deployments"]["deployments"][0]
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    inner = {snake(name): value for name, value in launcher["runK8sConfig"].items()}
    config = {snake(k): v for k, v in launcher.items() if k != "runK8sConfig"} | {
        "service_account_name": "dagster",
        "instance_config_map": "instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "dagster_home": "/opt/dagster/dagster_home",
        "run_k8s_config": inner,
    }
    taken = dg.Field(K8sRunLauncher.config_type())
    checked = dg._config.process_config(taken.config_type, config)  # type: ignore[attr-defined]
    assert checked.success, checked.errors
    of_runs = K8sContainerContext.create_from_config(
        {
            "k8s": {
                "env": deployment["env"],
                "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
                "volumes": deployment["volumes"],
                "volume_mounts": deployment["volumeMounts"],
                "resources": deployment["resources"],
                "run_k8s_config": inner,
            }
        }
    )
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(
            job_image="registry.example.org/loom-dagster:0.1.0",
            dagster_home=config["dagster_home"],
            instance_config_map=config["instance_config_map"],
            postgres_password_secret=config["postgres_password_secret"],
        ),
        ["dagster", "api", "execute_run"],
        "dagster-run-1",
        user_defined_k8s_config=of_runs.run_k8s_config,
    )
    manifest = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    pod = manifest["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120 and pod["securityContext"]["runAsNonRoot"]
    claim = read("kubernetes/state.yaml")["metadata"]["name"]
    assert [
        v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v
    ] == [claim]
    names = {one["name"] for one in pod["containers"][0]["env"]}
    assert {"LOOM_LEDGER", "PGPASSWORD", "DAGSTER_HOME"} <= names


def test_what_the_chart_adds_to_the_instance_is_known_to_dagster() -> None:
    known = dagster_instance_config_schema()
    more = read("kubernetes/values.yaml")["additionalInstanceConfig"]
    assert set(more) <= set(known)
    checked = dg._config.process_config(known["run_retries"].config_type, more["run_retries"])  # type: ignore[attr-defined]
    assert checked.success, checked.errors


def test_the_image_is_well_written_belongs_to_nobody_and_gets_what_it_copies() -> None:
    linted = subprocess.run(
        [Path(sys.executable).parent / "hadolint", DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for word in line.split()
    ]
    assert copied and set(copied) <= let_through
    assert [path for path in copied if not (ROOT / path).exists()] == []
    for secret in (".git", ".env", ".loom", "deploy/.env"):
        assert not any(
            fnmatch(secret, allowed) or secret.startswith(f"{allowed}/") for allowed in let_through
        )
    [extras] = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
