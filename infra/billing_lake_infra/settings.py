"""What can be chosen about a deployment, read from the CDK's context: `-c payer=…`, or `context` of a `cdk.json`.

A value that cannot be right is refused with its key before anything is synthesized. The table of settings in the documentation is
made from the fields of this class.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

EXPORTS = ("cur2", "focus", "legacy")
"""Kinds of export that can be made: CUR 2.0, FOCUS 1.2, legacy Cost and Usage Report."""

_RETENTIONS = "1 3 5 7 14 30 60 90 120 150 180 365 400 545 731 1096 1827 2192 2557 2922 3288 3653"
_FARGATE_MEMORY_MB = {
    256: range(512, 2049, 512),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
_REGION = r"[a-z]{2}(-[a-z]+)+-\d"
_ACCOUNT = r"\d{12}"
_EMAIL = r"[^@\s]+@[^@\s]+"
_HTTPS = r"https://[^\s]+"
_NETWORK = "vpc subnet"


class SettingsError(ValueError):
    """A setting is missing or cannot be right."""

    def __init__(self, key: str, what: str, remedy: str) -> None:
        super().__init__(f"The setting `{key}` {what}. {remedy}.")


def _setting(default: Any, meaning: str, form: str = "", pattern: str = ".*") -> Any:
    """Describe a setting.

    Args:
        default: Its value unless given; the type of a given value follows from it.
        meaning: What it decides, for the documentation.
        form: What a right value looks like, for the remedy of an error.
        pattern: Regular expression that a right value (of a list: each value) matches as a whole.
    """
    return field(
        default=default, metadata={"meaning": meaning, "form": form, "pattern": re.compile(pattern)}
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A deployment: its names, its exports, its engine and its switches."""

    name: str = _setting(
        "billing-lake",
        "begins the name of everything that is made; two deployments of an account need two",
        "3 to 20 lower-case letters, digits and hyphens, a letter first",
        r"[a-z][a-z0-9-]{1,18}[a-z0-9]",
    )
    account: str = _setting(
        "", "account of the lake; the one of your credentials unless given", "12 digits", _ACCOUNT
    )
    region: str = _setting(
        "",
        "region of the lake; the one of your credentials unless given",
        "a region, such as eu-central-1",
        _REGION,
    )
    payer: str = _setting(
        "",
        "account whose bill is exported (management account); the lake's own unless given",
        "12 digits",
        _ACCOUNT,
    )
    exports: tuple[str, ...] = _setting(
        ("cur2", "focus"),
        "exports that are made: `cur2` (CUR 2.0), `focus` (FOCUS 1.2), `legacy` (Cost and Usage Report); `none` for a bucket that is "
        "filled by others",
        f"a list of {', '.join(EXPORTS)}, with commas, or none",
        f"{'|'.join(EXPORTS)}|none",
    )
    granularity: str = _setting(
        "HOURLY", "rows of an export", "HOURLY, DAILY or MONTHLY", "HOURLY|DAILY|MONTHLY"
    )
    files: str = _setting(
        "parquet",
        "files of `cur2` and `focus`: `parquet`, or `csv` (gzipped)",
        "csv or parquet",
        "csv|parquet",
    )
    resources: bool = _setting(
        default=True, meaning="whether rows of `cur2` and `legacy` name the resource"
    )
    split_costs: bool = _setting(
        default=True,
        meaning="whether `cur2` and `legacy` split the costs of containers (`split_line_item_…`)",
    )
    namespaces: tuple[str, ...] = _setting(
        ("billing",),
        "databases of tables (`namespace` of your exports)",
        "lower-case letters, digits and underscores, with commas between several",
        r"[a-z][a-z0-9_]{0,99}",
    )
    engine: str = _setting(
        "polars",
        "what moves the data: `polars` in the run's task, or a `glue` job",
        "polars or glue",
        "polars|glue",
    )
    glue: bool = _setting(
        default=False,
        meaning="whether there is a Glue job; `engine=glue` implies it",
    )
    glue_worker_type: str = _setting(
        "G.1X",
        "size of a worker of the job",
        "a worker type of Glue, such as G.1X",
        r"G\.(025|1|2|4|8|12|16)X|R\.[1248]X",
    )
    glue_workers: int = _setting(5, "workers of a run of the job", "2 to 299")
    glue_timeout_minutes: int = _setting(120, "minutes after which Glue ends a run", "1 to 10080")
    glue_concurrent_runs: int = _setting(
        5, "runs of the job at a time: months that are loaded at once", "1 to 200"
    )
    crawler: bool = _setting(
        default=False, meaning="whether there is a role for Glue crawlers (`crawler: glue`)"
    )
    athena_scan_gb: int = _setting(
        100, "gigabytes after which Athena stops a query of the workgroup", "1 to 100000"
    )
    kms: bool = _setting(
        default=False, meaning="whether a key of your own (about 1 dollar a month) encrypts it all"
    )
    replicas: str = _setting(
        "",
        "region that landing bucket and warehouse are copied to; none unless given",
        "another region, such as eu-west-1",
        _REGION,
    )
    lake_formation: bool = _setting(
        default=False,
        meaning="whether Lake Formation grants the roles their databases and tables",
    )
    s3tables_catalog: bool = _setting(
        default=False,
        meaning="whether the account's catalog `s3tablescatalog` is made, through which Athena sees table buckets; there is one for "
        "all table buckets of a region",
    )
    dagster: bool = _setting(
        default=True, meaning="whether Dagster is deployed; off for one that runs elsewhere"
    )
    image: str = _setting(
        "",
        "image of Dagster: an address with tag or digest, or `build` (needs Docker here); a parameter of the stack unless given",
        "<registry>/<repository>:<tag>, or build",
        r"build|[\w.-]+(:\d+)?(/[\w.-]+)+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?",
    )
    task_cpu: int = _setting(512, "CPU units of the task that runs Dagster itself", "256 to 16384")
    task_memory_mb: int = _setting(2048, "its memory", "what Fargate offers for its task_cpu")
    run_cpu: int = _setting(
        2048, "CPU units of a run; the run's tag `ecs/cpu` changes it", "256 to 16384"
    )
    run_memory_mb: int = _setting(
        4096, "its memory; `ecs/memory` changes it", "what Fargate offers for its run_cpu"
    )
    runs: int = _setting(4, "runs at a time", "1 to 20")
    database_class: str = _setting(
        "t4g.micro",
        "size of the PostgreSQL that keeps Dagster's history",
        "a class without db., such as t4g.small",
        r"[a-z][a-z0-9]+\.[a-z0-9]+",
    )
    database_multi_az: bool = _setting(
        default=False, meaning="whether it has a standby in a second zone (doubles its price)"
    )
    backup_days: int = _setting(7, "days for which its backups are kept", "1 to 35")
    vpc: str = _setting("", "network of yours; a new one unless given", "vpc-…", r"vpc-[0-9a-f]+")
    vpc_zones: tuple[str, ...] = _setting(
        (),
        "its two availability zones",
        "two zones, such as eu-central-1a,eu-central-1b",
        r"[a-z0-9-]+",
    )
    vpc_task_subnets: tuple[str, ...] = _setting(
        (),
        "its subnets for tasks, one in each zone; they need a way to AWS (NAT, endpoints, or `public_ip`)",
        "two subnets, with a comma",
        r"subnet-[0-9a-f]+",
    )
    vpc_database_subnets: tuple[str, ...] = _setting(
        (),
        "its subnets for the database, one in each zone",
        "two subnets, with a comma",
        r"subnet-[0-9a-f]+",
    )
    vpc_ui_subnets: tuple[str, ...] = _setting(
        (),
        "its subnets for the load balancer of `ui=oidc`",
        "two subnets, with a comma",
        r"subnet-[0-9a-f]+",
    )
    public_ip: bool = _setting(
        default=True,
        meaning="whether tasks reach AWS by an address of their own (nothing can reach them); off: by a NAT gateway, 33 dollars a month",
    )
    ui: str = _setting(
        "ssm",
        "way to the UI: `ssm` (port forwarding, IAM decides) or `oidc` (load balancer with your company's login)",
        "ssm or oidc",
        "ssm|oidc",
    )
    ui_certificate: str = _setting(
        "",
        "certificate of the load balancer",
        "its ARN",
        rf"arn:aws[a-z-]*:acm:{_REGION}:{_ACCOUNT}:certificate/[\w-]+",
    )
    ui_domain: str = _setting(
        "", "name under which people open it", "a host name", r"[a-z0-9-]+(\.[a-z0-9-]+)+"
    )
    ui_cidrs: tuple[str, ...] = _setting(
        (), "networks that may reach it, before the login", "such as 10.0.0.0/8", r"[0-9.]+/\d+"
    )
    oidc_issuer: str = _setting("", "issuer of your identity provider", "https://…", _HTTPS)
    oidc_authorization: str = _setting("", "its authorization endpoint", "https://…", _HTTPS)
    oidc_token: str = _setting("", "its token endpoint", "https://…", _HTTPS)
    oidc_user_info: str = _setting("", "its user info endpoint", "https://…", _HTTPS)
    oidc_client: str = _setting("", "client id there", "a text", r"\S+")
    oidc_secret: str = _setting(
        "",
        "name of the secret in Secrets Manager that holds the client's secret as plain text",
        "the secret's name",
        r"[\w/+=.@-]+",
    )
    alerts_email: str = _setting(
        "", "address that alarms and alerts are sent to", "an e-mail address", _EMAIL
    )
    log_days: int = _setting(90, "days for which logs are kept", f"one of {_RETENTIONS}")
    budget_usd: int = _setting(
        0,
        "dollars a month above which the deployment's own costs are reported to `alerts_email`; 0 for none",
        "0 to 1000000",
    )

    @property
    def with_glue(self) -> bool:
        """Whether there is a Glue job."""
        return self.glue or self.engine == "glue"

    @property
    def crawled_database(self) -> str:
        """Glue database of crawled tables: one for each deployment, because two must not share it."""
        return f"{self.name.replace('-', '_')}_crawled"

    @property
    def databases(self) -> tuple[str, ...]:
        """Glue databases, in which all tables are."""
        kept = [f"{namespace}{kind}" for namespace in self.namespaces for kind in ("", "_hive")]
        return (*kept, self.crawled_database)

    def __post_init__(self) -> None:
        self._require_limits()
        self._require_together()

    def _require_limits(self) -> None:
        for one in fields(self):
            value, form = getattr(self, one.name), one.metadata["form"]
            if isinstance(value, bool):
                continue
            if isinstance(value, int):
                limits = re.fullmatch(r"(\d+) to (\d+)", form)
                allowed = not limits or int(limits[1]) <= value <= int(limits[2])
            else:
                each = value if isinstance(value, tuple) else (value,) if value else ()
                allowed = all(one.metadata["pattern"].fullmatch(text) for text in each)
            if not allowed:
                raise _wrong(one.name, value)
        if str(self.log_days) not in _RETENTIONS.split():
            raise _wrong("log_days", self.log_days)
        for kind in ("task", "run"):
            cpu, memory_mb = getattr(self, f"{kind}_cpu"), getattr(self, f"{kind}_memory_mb")
            if cpu not in _FARGATE_MEMORY_MB:
                what = f"is {cpu}"
                raise SettingsError(f"{kind}_cpu", what, f"Give one of {[*_FARGATE_MEMORY_MB]}")
            if memory_mb not in (offered := _FARGATE_MEMORY_MB[cpu]):
                what = f"is {memory_mb}, which Fargate has not for {cpu} CPU units"
                remedy = f"Give {offered[0]} to {offered[-1]} in steps of {offered.step}"
                raise SettingsError(f"{kind}_memory_mb", what, remedy)

    def _require_together(self) -> None:
        if "none" in self.exports and len(self.exports) > 1:
            raise _wrong("exports", self.exports)
        if self.replicas and self.replicas == self.region:
            raise SettingsError("replicas", "is the lake's own region", "Give another region")
        if self.vpc:
            for key in ("vpc_zones", "vpc_task_subnets", "vpc_database_subnets"):
                self._require(key, "vpc is given", self.vpc)
        if self.ui == "oidc":
            keys = "ui_certificate ui_domain ui_cidrs oidc_issuer oidc_authorization oidc_token oidc_user_info oidc_client oidc_secret"
            for key in (*keys.split(), *(["vpc_ui_subnets"] if self.vpc else [])):
                self._require(key, "ui is oidc", self.ui)
        if self.budget_usd:
            self._require("alerts_email", "budget_usd is given", self.budget_usd)

    def _require(self, key: str, reason: str, _value: object) -> None:
        if not getattr(self, key):
            raise SettingsError(key, "is not given", f"It is needed because {reason}")

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Settings:
        """Read the settings; keys of the CDK itself, which have a colon or a slash, are not ours.

        Raises:
            SettingsError: A key is unknown, or its value cannot be right.
        """
        known = {one.name: one for one in fields(cls)}
        given = {}
        for key, value in context.items():
            if key in known:
                given[key] = _parsed(key, value, known[key].default)
            elif not re.search("[:/@]", key):
                close = difflib.get_close_matches(key, known, 1)
                remedy = f"Did you mean `{close[0]}`?" if close else f"Known are {', '.join(known)}"
                raise SettingsError(key, "is unknown", remedy.rstrip("."))
        return cls(**given)


def _parsed(key: str, value: Any, default: Any) -> Any:
    """Return a value as the type of the setting's default: what the command line gives is text."""
    text = str(value).strip()
    if isinstance(default, bool):
        if text.lower() not in {"true", "false"}:
            raise SettingsError(key, f"is {text!r}", "Set it to true or false")
        return text.lower() == "true"
    if isinstance(default, int):
        if not text.isdecimal():
            raise SettingsError(key, f"is {text!r}", f"Set it to {_form(key)}")
        return int(text)
    if isinstance(default, tuple):
        parts = value if isinstance(value, (list, tuple)) else text.split(",")
        return tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    return text


def _form(key: str) -> str:
    (found,) = (one.metadata["form"] for one in fields(Settings) if one.name == key)
    return str(found)


def _wrong(key: str, value: object) -> SettingsError:
    shown = ",".join(value) if isinstance(value, tuple) else value
    return SettingsError(key, f"is {shown!r}", f"Set it to {_form(key)}")


def settings_table() -> str:
    """Return the settings as the table of the documentation, in Markdown."""
    rows = ["| setting | decides | unless given |", "|---|---|---|"]
    for one in fields(Settings):
        assert one.default is not MISSING  # noqa: S101 -- every setting has one
        default = one.default
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        rows.append(
            f"| `{one.name}` | {one.metadata['meaning']} | {f'`{shown}`' if shown else ''} |"
        )
    return "\n".join(rows)
