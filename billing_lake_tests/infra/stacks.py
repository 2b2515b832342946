"""Templates of the stacks, synthesized by infra's own environment, once for each choice of settings and process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billing_lake.resources.glue_package import build_glue_package

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "infra" / ".venv" / "bin" / "python"
ACCOUNT, REGION = "123456789012", "eu-central-1"
DEFAULT = {"account": ACCOUNT, "region": REGION}

Resource = dict[str, Any]


@dataclass(frozen=True)
class Stacks:
    """What was synthesized.

    Attributes:
        folder: Templates, lists of assets, and the report of the checks.
        name: The deployment's name, with which the names of the stacks begin.
    """

    folder: Path
    name: str

    def template(self, kind: str) -> dict[str, Any]:
        """Return the template of `lake`, `exports`, `dagster` or `replica`."""
        file = self.folder / f"{self.name}-{kind}.template.json"
        template: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return template

    @property
    def kinds(self) -> list[str]:
        """Which stacks there are."""
        found = self.folder.glob(f"{self.name}-*.template.json")
        return sorted(
            one.name.removesuffix(".template.json").removeprefix(f"{self.name}-") for one in found
        )

    def resources(self, kind: str, of_type: str = "") -> dict[str, Resource]:
        """Return the resources of a stack, of one type or of all, by their ids."""
        found: dict[str, Resource] = self.template(kind)["Resources"]
        return {key: one for key, one in found.items() if of_type in {"", one["Type"]}}

    def all_resources(self, of_type: str = "") -> list[Resource]:
        """Return the resources of all stacks."""
        return [one for kind in self.kinds for one in self.resources(kind, of_type).values()]

    @property
    def environment(self) -> dict[str, str]:
        """The product's environment, as the outputs of the lake's stack state it."""
        outputs = self.template("lake")["Outputs"].values()
        return {one["Description"]: one["Value"] for one in outputs if "Description" in one}


def run(program: str, folder: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Run a program of `infra/` with settings, offline: whatever asks for the network fails."""
    if not PYTHON.exists():
        pytest.fail("infra/ has no environment: run `make infra-synth`, or pytest --without-infra")
    given = [f"{key}={value}" for key, value in context.items()]
    package = folder.parent / "glue_package"
    if not package.exists():
        build_glue_package(package)
    nowhere = "http://127.0.0.1:9"
    environment = {
        "PATH": "",
        "HOME": os.environ.get("HOME", str(folder)),
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "BILLING_LAKE_GLUE_PACKAGE": str(package),
    }
    return subprocess.run(
        [PYTHON, "-W", "ignore", ROOT / "infra" / program, folder, *given],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )


Synthesized = dict[frozenset[tuple[str, str]], Stacks]


@pytest.fixture(scope="session")
def synthesized() -> Synthesized:
    """What this process has synthesized, by its settings."""
    return {}


@pytest.fixture(scope="session")
def synthesize(
    tmp_path_factory: pytest.TempPathFactory, synthesized: Synthesized
) -> Callable[..., Stacks]:
    """Synthesize stacks: `synthesize(engine="glue")` is the default deployment but for the engine; asked again, it is there."""

    def make(**context: str) -> Stacks:
        context = {**DEFAULT, **context}
        key = frozenset(context.items())
        if key not in synthesized:
            folder = tmp_path_factory.mktemp("stacks") / "out"
            done = run("app.py", folder, **context)
            assert done.returncode == 0, done.stderr
            synthesized[key] = Stacks(folder, context.get("name", "billing-lake"))
        return synthesized[key]

    return make


@pytest.fixture(scope="session")
def checked(
    tmp_path_factory: pytest.TempPathFactory, synthesized: Synthesized
) -> tuple[subprocess.CompletedProcess[str], dict[str, Stacks]]:
    """What `make infra-check` says, and the stacks of its choices of settings."""
    folder = tmp_path_factory.mktemp("checked") / "out"
    done = run("check.py", folder)
    stacks = {}
    for one in (each for each in folder.iterdir() if each.is_dir()):
        (lake,) = one.glob("*-lake.template.json")
        stacks[one.name] = Stacks(one, lake.name.removesuffix("-lake.template.json"))
    synthesized[frozenset(DEFAULT.items())] = stacks["default"]
    return done, stacks
