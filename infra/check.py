"""Checks what the stacks make of several choices of settings: cdk-nag, cfn-lint, parliament; all of it offline.

Prints each finding and ends with an error if there is one. Acknowledgments (`acknowledged.py`) that no rule asks for are findings too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app import build  # sets up the path, and Node

# isort: split

import aws_cdk as cdk
import parliament
from billing_lake_infra.acknowledged import ACKNOWLEDGED
from billing_lake_infra.roles import rights_table
from billing_lake_infra.settings import Settings, SettingsError
from cdk_nag import AwsSolutionsChecks

_COMMON = {"account": "123456789012", "region": "eu-central-1"}
_LOGIN = {
    "ui": "oidc",
    "ui_certificate": "arn:aws:acm:eu-central-1:123456789012:certificate/1b2c",
    "ui_domain": "lake.example.com",
    "ui_cidrs": "198.51.100.0/24",
    "oidc_issuer": "https://login.example.com",
    "oidc_authorization": "https://login.example.com/authorize",
    "oidc_token": "https://login.example.com/token",
    "oidc_user_info": "https://login.example.com/userinfo",
    "oidc_client": "billing-lake",
    "oidc_secret": "billing-lake/oidc",
}
_ALL_RIGHTS = {
    **_COMMON,
    **dict.fromkeys(("glue", "crawler", "kms", "lake_formation"), "true"),
    "name": "finops",
    "replicas": "eu-west-1",
}
"""Settings of which every right follows, for the table of the documentation."""

CHOICES: dict[str, dict[str, str]] = {
    "default": _COMMON,
    "everything": {
        **_COMMON,
        **_LOGIN,
        "payer": "210987654321",
        "name": "finops",
        "exports": "cur2,focus,legacy",
        "files": "csv",
        "namespaces": "billing,research",
        "engine": "glue",
        "crawler": "true",
        "kms": "true",
        "replicas": "eu-west-1",
        "lake_formation": "true",
        "s3tables_catalog": "true",
        "public_ip": "false",
        "database_multi_az": "true",
        "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/billing-lake:1",
        "alerts_email": "finops@example.com",
        "budget_usd": "100",
    },
    "network": {
        **_COMMON,
        "vpc": "vpc-01234567",
        "vpc_zones": "eu-central-1a,eu-central-1b",
        "vpc_task_subnets": "subnet-01234567,subnet-11234567",
        "vpc_database_subnets": "subnet-21234567,subnet-31234567",
        "public_ip": "false",
        "image": "build",
    },
    "elsewhere": {**_COMMON, "dagster": "false", "exports": "none"},
    "portable": {},
}
"""Choices of settings, which together have every switch both ways; `portable` is what a release carries."""


def _synthesized(folder: Path, context: dict[str, str]) -> str:
    """Synthesize, with the rules of cdk-nag where an account is known; return what was said if it failed."""
    ACKNOWLEDGED.clear()
    try:
        app = build(str(folder), context)
        if "account" in context:
            cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        app.synth()
    except (RuntimeError, SettingsError) as error:
        return str(error)
    return ""


def nag_findings(folder: Path) -> Iterator[str]:
    """Yield what cdk-nag and the CDK's own validation found, and acknowledgments that nothing asked for."""
    report = json.loads((folder / "validation-report.json").read_text(encoding="utf-8"))
    used = set()
    for plugin in report["pluginReports"]:
        for one in plugin["violations"]:
            for construct in one["violatingConstructs"]:
                yield f"{one['ruleName']} at {construct['constructPath']}: {one['description']}"
        for one in plugin.get("suppressedViolations", []):
            for construct in one["violatingConstructs"]:
                used.add((construct["constructPath"].removesuffix("/Resource"), one["ruleName"]))
    for path, rule in ACKNOWLEDGED:
        if (path.removesuffix("/Resource"), rule) not in used:
            yield f"{path}: the acknowledgment of {rule} is not needed"


def lint_findings(place: Path, choices: Mapping[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield what cfn-lint finds in templates, each with its choice: one run for each region that they are deployed to."""
    regions: dict[str, list[Path]] = {}
    for choice, context in choices.items():
        lake = context.get("region", "eu-central-1")
        for template in sorted((place / choice).glob("*.template.json")):
            region = {"exports": "us-east-1", "replica": context.get("replicas", lake)}.get(
                template.name.split(".")[0].rsplit("-", 1)[1], lake
            )
            regions.setdefault(region, []).append(template)
    lint = Path(sys.executable).parent / "cfn-lint"
    for region, its in regions.items():
        command = [lint, "-r", region, "-f", "parseable", "-t", *its]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in filter(None, (done.stdout + done.stderr).splitlines()):
            named = (one for one in choices if line.startswith(f"{place / one}/"))
            yield next(named, region), line


def policy_findings(template: dict[str, Any]) -> Iterator[str]:
    """Yield what parliament finds in the policies of roles: unknown actions, resources that an action cannot have."""
    for key, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        policies = [one["PolicyDocument"] for one in properties.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::Policy":
            policies.append(properties["PolicyDocument"])
        for document in policies:
            analysed = parliament.analyze_policy_string(json.dumps(_plain(document)))
            for finding in analysed.findings:
                yield f"{key}: {finding.issue} {finding.detail} {finding.location}"


def _plain(value: Any) -> Any:
    """Put an ARN of the right form where the template has a function; a list of statements stays as it is."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) == "Ref":
        return "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Database-Ab12"
    if len(value) == 1 and next(iter(value)) in {"Fn::GetAtt", "Fn::ImportValue"}:
        return "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    if "Fn::Join" in value:
        parts = [one if isinstance(one, str) else "123456789012" for one in value["Fn::Join"][1]]
        return value["Fn::Join"][0].join(parts).replace("arn:123456789012:", "arn:aws:")
    return {key: _plain(one) for key, one in value.items()}


def check(context: dict[str, str], folder: Path) -> list[str]:
    """Return findings about one choice of settings but for those of cfn-lint, and leave the templates in a folder."""
    failure = _synthesized(folder, context)
    findings = []
    known = "account" in context
    if known and (folder / "validation-report.json").exists():
        findings += nag_findings(folder)
    if failure and not findings:
        findings.append(failure)
    for template in sorted(folder.glob("*.template.json")) if known else []:
        findings += policy_findings(json.loads(template.read_text(encoding="utf-8")))
    return findings


def main(arguments: list[str]) -> int:
    """Check every choice, or one that is given as `key=value …`, into a folder; return the exit status."""
    place, given = Path(arguments[0]), arguments[1:]
    place.mkdir(parents=True, exist_ok=True)
    table = rights_table(Settings.from_context(_ALL_RIGHTS))
    (place / "rights.md").write_text(table, encoding="utf-8")
    choices = {"given": dict(one.split("=", 1) for one in given)} if given else CHOICES
    findings = {choice: check(context, place / choice) for choice, context in choices.items()}
    for choice, line in lint_findings(place, choices):
        findings.setdefault(choice, []).append(line)
    for choice, found in findings.items():
        for finding in found:
            sys.stderr.write(f"{choice}: {finding}\n")
        sys.stdout.write(f"{choice}: {len(found)} findings\n")
    return 1 if any(findings.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
