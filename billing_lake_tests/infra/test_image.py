"""The image's steps, done in a fresh environment and an empty folder: what it would start does start, with exports of one's own too."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from billing_lake_tests.infra.stacks import ROOT, Stacks

IMAGE = ROOT / "infra" / "image"
UV = ROOT / ".tools" / "bin" / "uv"
OWN = {"name": "acme", "layout": "create-new", "prefix": "billing", "report": "daily"}


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the instructions of the Dockerfile, each on one line."""
    text = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, rest = line.split(maxsplit=1)
            yield word, rest


def copied(source: Path, target: Path) -> None:
    """Copy as COPY does: a folder's content into the target, a file into the folder."""
    if source.is_dir():
        shutil.copytree(
            source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


@dataclass(frozen=True)
class Image:
    """What the steps made.

    Attributes:
        environment: Its virtual environment.
        home: Its working folder.
        variables: Its environment variables.
    """

    environment: Path
    home: Path
    variables: dict[str, str]

    def run(self, *command: str, **variables: str) -> str:
        """Run a program of the image in an empty folder, with nothing of this machine's environment."""
        program = self.environment / "bin" / command[0]
        empty = self.home.parent / "empty"
        empty.mkdir(exist_ok=True)
        done = subprocess.run(
            [program, *command[1:]],
            env={**self.variables, **variables},
            cwd=empty,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Do what the Dockerfile says, but for Debian's packages: `/opt` is a folder, and uv does pip's work."""
    root = tmp_path_factory.mktemp("image")
    made = Image(root / "opt/billing-lake", root / "opt/dagster", {})
    folder, arguments = root, dict[str, str]()
    python = made.environment / "bin" / "python"
    for word, rest in instructions():
        text = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], rest)
        if word == "WORKDIR":
            folder = root / text.removeprefix("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif word == "ARG":
            name, _equals, value = text.partition("=")
            arguments[name] = value
        elif word == "COPY" and not text.startswith("--from"):
            *sources, target = text.split()
            for source in sources:
                copied(ROOT / source, folder / target)
        elif word == "ENV":
            pairs = dict(one.split("=", 1) for one in shlex.split(text))
            made.variables.update(
                {key: value.replace("/opt", f"{root}/opt") for key, value in pairs.items()}
            )
        elif word == "RUN" and "-m venv" in text:
            subprocess.run([UV, "venv", "--quiet", made.environment], check=True)
        elif word == "RUN" and "pip install" in text:
            options = text.split("pip install ")[1].replace("--no-cache-dir ", "").split()
            installing: list[str | Path] = [
                UV,
                "pip",
                "install",
                "--quiet",
                "--python",
                python,
                *options,
            ]
            # Of the network is asked only what this machine has not.
            if subprocess.run([*installing, "--offline"], cwd=folder, check=False).returncode:
                subprocess.run(installing, cwd=folder, check=True)
    return made


@pytest.fixture(scope="module")
def variables(synthesize: Callable[..., Stacks]) -> dict[str, str]:
    """Environment and secrets that the stacks give to the containers."""
    return containers(synthesize())["daemon"]


def containers(stacks: Stacks) -> dict[str, dict[str, str]]:
    found = {}
    for task in stacks.all_resources("AWS::ECS::TaskDefinition"):
        for one in task["Properties"]["ContainerDefinitions"]:
            values = {each["Name"]: each["Value"] for each in one["Environment"]}
            values = {name: value for name, value in values.items() if isinstance(value, str)}
            found[one["Name"]] = values
    return found


def test_the_exports_of_the_stacks_are_loaded_by_what_the_image_starts(
    image: Image, variables: dict[str, str]
) -> None:
    # Without DAGSTER_HOME, whose PostgreSQL is not here: the instance plays no part in it.
    home = {"DAGSTER_HOME": ""}
    said = image.run(
        "dagster", "definitions", "validate", "-m", "billing_lake.definitions", **variables, **home
    )
    assert "Validation successful" in said or "validated successfully" in said
    program = (
        "import json; from billing_lake.definitions import defs; found = defs().get_repository_def();"
        "view = next(one for key, one in found.assets_defs_by_key.items() if key.path == ['all_costs']);"
        "print(json.dumps([sorted(key.path[0] for key in view.dependency_keys),"
        "{one.name: one.default_status.value for one in found.sensor_defs}]))"
    )

    def loaded(**given: str) -> tuple[list[str], dict[str, str]]:
        said = image.run("python", "-c", program, **{**variables, **home, **given})
        counted, sensors = json.loads(said.splitlines()[-1])
        return counted, sensors

    counted, sensors = loaded()
    # Both exports are of one bill.
    assert counted == ["focus"]
    assert loaded(BILLING_LAKE_COUNTS_CUR2="true")[0] == ["cur2", "focus"]
    # Dagster's own, which would make the view of all costs anew after each load: Athena charges for its checks.
    assert sensors.pop("default_automation_condition_sensor") == "STOPPED"
    assert sensors == dict.fromkeys(
        ("cur2_new_reports", "focus_new_reports", "deployment_alerts"), "RUNNING"
    )


def test_exports_of_ones_own_need_a_folder_and_no_change_of_the_image(
    image: Image, variables: dict[str, str], tmp_path: Path
) -> None:
    copied(Path(image.variables["BILLING_LAKE_DEFS"]), tmp_path / "defs")
    (tmp_path / "defs" / "acme").mkdir()
    export = {"type": "billing_lake.components.BillingExport", "attributes": OWN}
    (tmp_path / "defs" / "acme" / "defs.yaml").write_text(yaml.safe_dump(export))
    program = (
        "from billing_lake.definitions import defs;"
        "print(sorted(job.name for job in defs().get_repository_def().get_all_jobs()))"
    )
    own = {"DAGSTER_HOME": "", "BILLING_LAKE_DEFS": str(tmp_path / "defs")}
    jobs = image.run("python", "-c", program, **variables, **own)
    assert "acme_load" in jobs
    assert "cur2_load" in jobs
    assert "focus_load" in jobs


def test_what_the_stacks_start_is_in_the_image(
    image: Image, synthesize: Callable[..., Stacks]
) -> None:
    tasks = synthesize().all_resources("AWS::ECS::TaskDefinition")
    for task in tasks:
        for one in task["Properties"]["ContainerDefinitions"]:
            assert (image.environment / "bin" / one["Command"][0]).exists()
    workspace = yaml.safe_load((image.home / "workspace.yaml").read_text())
    port = str(workspace["load_from"][0]["grpc_server"]["port"])
    assert json.dumps(tasks).count(f'"-p", "{port}"') == 1


def test_the_instance_asks_for_nothing_that_a_container_has_not(
    image: Image, synthesize: Callable[..., Stacks]
) -> None:
    instance = (image.home / "dagster.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\{env: (\w+)\}", instance))
    assert len(asked) == 7
    for task in synthesize().all_resources("AWS::ECS::TaskDefinition"):
        for one in task["Properties"]["ContainerDefinitions"]:
            given = {each["Name"] for each in [*one["Environment"], *one["Secrets"]]}
            assert asked <= given


def test_the_image_is_not_roots_and_has_no_compiler_and_no_installer() -> None:
    steps = list(instructions())
    last = max(number for number, (word, _rest) in enumerate(steps) if word == "FROM")
    assert ("USER", "10001") in steps[last:]
    assert not [
        rest for word, rest in steps if word == "RUN" and re.search("gcc|build-essential", rest)
    ]
    installed = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installed)
    assert any("pip uninstall" in rest for word, rest in steps if word == "RUN")
