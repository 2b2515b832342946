"""The templates say what they have to say: settings that the product takes, nothing public, nothing lost, no secret in sight."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from billing_lake_infra.settings import Settings, SettingsError

from billing_lake.aws.rights import RIGHTS
from billing_lake.aws.settings import AwsSettings
from billing_lake.formats.aws_exports import CUR2_COLUMNS, CUR2_OPTIONAL_COLUMNS, FOCUS_COLUMNS
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.cur2.columns import KNOWN_COLUMNS as CUR2_DICTIONARY
from billing_lake.formats.focus.columns import KNOWN_COLUMNS as FOCUS_DICTIONARY
from billing_lake_tests.infra.policies import Asked, allows
from billing_lake_tests.infra.stacks import ACCOUNT, REGION, ROOT, Resource, Stacks, run

Checked = tuple[subprocess.CompletedProcess[str], dict[str, Stacks]]
KINDS = ("default", "everything", "network", "elsewhere", "portable")
ROLE_POLICIES_MOST_CHARACTERS = 10_240
KEPT = {
    "AWS::S3::Bucket",
    "AWS::S3Tables::TableBucket",
    "AWS::S3Tables::Namespace",
    "AWS::Glue::Database",
    "AWS::Glue::Catalog",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
}


@pytest.fixture(params=KINDS)
def stacks(request: pytest.FixtureRequest, checked: Checked) -> Stacks:
    return checked[1][request.param]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def named(name: Any, role: str) -> bool:
    """Say whether a role's name, which may be put together by CloudFormation, ends so."""
    return f'-{role}"' in json.dumps(name)


def statements(stacks: Stacks, role: str) -> list[dict[str, Any]]:
    """Statements of all policies of a role: `dagster`, `glue-job`, `crawler`."""
    documents = []
    for one in stacks.all_resources():
        properties = one.get("Properties", {})
        if one["Type"] == "AWS::IAM::Role" and named(properties["RoleName"], role):
            documents += [policy["PolicyDocument"] for policy in properties["Policies"]]
        if one["Type"] == "AWS::IAM::Policy" and named(properties["Roles"][0], role):
            documents.append(properties["PolicyDocument"])
    return [statement for document in documents for statement in document["Statement"]]


def actions(stacks: Stacks, role: str) -> set[str]:
    return {action for one in statements(stacks, role) for action in as_list(one["Action"])}


def test_the_checks_find_nothing(checked: Checked) -> None:
    done, found = checked
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"{kind}: 0 findings" in done.stdout for kind in KINDS] == [True] * len(KINDS)
    assert set(found) == set(KINDS)


def test_the_checks_can_find_something(tmp_path: Path) -> None:
    # The network of a load balancer is open to all; the class of the database is none of RDS.
    wrong = {"database_class": "t4g.huge", "exports": "none", "account": ACCOUNT, "region": REGION}
    done = run("check.py", tmp_path / "out", **wrong)
    assert done.returncode == 1
    assert "db.t4g.huge" in done.stderr


def test_every_acknowledgment_has_a_reason(checked: Checked) -> None:
    _done, found = checked
    report = json.loads((found["default"].folder / "validation-report.json").read_text())
    reasons = [
        one["suppressionReason"] if "suppressionReason" in one else json.dumps(one)
        for plugin in report["pluginReports"]
        for one in plugin["suppressedViolations"]
    ]
    assert len(reasons) > 10
    assert all(len(reason.split()) > 3 for reason in reasons)


@pytest.mark.parametrize("kind", ["default", "everything", "network", "elsewhere"])
def test_the_outputs_are_settings_that_the_product_takes(checked: Checked, kind: str) -> None:
    found = checked[1][kind]
    settings = AwsSettings.from_environment(found.environment)
    everything = kind == "everything"
    assert settings.engine == ("glue" if everything else "polars")
    assert settings.landing_bucket == f"{found.name}-exports-{ACCOUNT}-{REGION}"
    assert settings.warehouse_bucket == settings.pipes_bucket
    assert settings.athena_output == f"{settings.warehouse}/athena"
    assert settings.athena_workgroup == found.name
    assert (settings.crawler_role is not None) == everything
    databases = found.resources("lake", "AWS::Glue::Database").values()
    names = {one["Properties"]["DatabaseInput"]["Name"] for one in databases}
    assert {"billing", "billing_hive", settings.crawled_database} <= names


def test_the_containers_have_the_same_environment_as_the_outputs(stacks: Stacks) -> None:
    tasks = stacks.all_resources("AWS::ECS::TaskDefinition")
    containers = [one for task in tasks for one in task["Properties"]["ContainerDefinitions"]]
    assert len(containers) in {0, 5}
    for container in containers:
        environment = {one["Name"]: one["Value"] for one in container["Environment"]}
        assert stacks.environment.items() <= environment.items()
        assert {one["Name"] for one in container["Secrets"]} == {
            "DAGSTER_POSTGRES_USER",
            "DAGSTER_POSTGRES_PASSWORD",
        }


def ingress(stacks: Stacks) -> Iterator[dict[str, Any]]:
    for one in stacks.all_resources("AWS::EC2::SecurityGroupIngress"):
        yield one["Properties"]
    for one in stacks.all_resources("AWS::EC2::SecurityGroup"):
        yield from one["Properties"].get("SecurityGroupIngress", [])


def test_nothing_can_be_reached_from_the_internet(stacks: Stacks) -> None:
    rules = list(ingress(stacks))
    named = [rule["CidrIp"] for rule in rules if "CidrIp" in rule]
    # Only the networks that the settings of the login name; everything else is a group of ours.
    assert set(named) <= {"198.51.100.0/24"}
    assert all("SourceSecurityGroupId" in one for one in rules if "CidrIp" not in one)
    for database in stacks.all_resources("AWS::RDS::DBInstance"):
        assert database["Properties"]["PubliclyAccessible"] is False
    for subnet in stacks.all_resources("AWS::EC2::Subnet"):
        assert subnet["Properties"]["MapPublicIpOnLaunch"] is False
    webservers = re.findall(
        r'"dagster-webserver", "-h", "([\d.]+)"',
        json.dumps(stacks.all_resources("AWS::ECS::TaskDefinition")),
    )
    behind_login = bool(stacks.all_resources("AWS::ElasticLoadBalancingV2::LoadBalancer"))
    assert set(webservers) <= {"0.0.0.0" if behind_login else "127.0.0.1"}


def test_the_login_stands_before_every_request(checked: Checked) -> None:
    (listener,) = checked[1]["everything"].all_resources("AWS::ElasticLoadBalancingV2::Listener")
    assert listener["Properties"]["Protocol"] == "HTTPS"
    first, second = sorted(
        listener["Properties"]["DefaultActions"], key=lambda action: int(action["Order"])
    )
    assert (first["Type"], second["Type"]) == ("authenticate-oidc", "forward")
    assert not checked[1]["everything"].all_resources("AWS::ElasticLoadBalancingV2::ListenerRule")
    tasks = json.dumps(checked[1]["everything"].all_resources("AWS::ECS::TaskDefinition"))
    assert tasks.count('{"Name": "BILLING_LAKE_UI_URL", "Value": "https://lake.example.com"}') == 5


def test_every_bucket_is_closed_and_encrypted_and_wants_tls(stacks: Stacks) -> None:
    for kind in stacks.kinds:
        policies = json.dumps(stacks.resources(kind, "AWS::S3::BucketPolicy"))
        buckets = stacks.resources(kind, "AWS::S3::Bucket")
        assert len(buckets) == {"lake": 3, "replica": 2}.get(kind, 0)
        assert policies.count('"aws:SecureTransport": "false"') == len(buckets)
        for bucket in buckets.values():
            properties = bucket["Properties"]
            assert properties["PublicAccessBlockConfiguration"] == {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            }
            assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            assert properties["VersioningConfiguration"] == {"Status": "Enabled"}


def test_what_holds_data_outlives_its_stack(stacks: Stacks) -> None:
    holding = [one for one in stacks.all_resources() if one["Type"] in KEPT]
    assert len(holding) >= 8
    assert {(one["DeletionPolicy"], one["UpdateReplacePolicy"]) for one in holding} == {
        ("Retain", "Retain")
    }
    for database in stacks.all_resources("AWS::RDS::DBInstance"):
        assert database["DeletionPolicy"] == "Snapshot"
        assert database["Properties"]["DeletionProtection"] is True
        assert database["Properties"]["StorageEncrypted"] is True


def test_no_rule_takes_a_delivery_away(stacks: Stacks) -> None:
    landing = stacks.resources("lake", "AWS::S3::Bucket")
    (bucket,) = [one for key, one in landing.items() if key.startswith("Landing")]
    for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert not {"ExpirationInDays", "ExpirationDate"} & set(rule)
    warehouse = next(one for key, one in landing.items() if key.startswith("Warehouse"))
    expiring = {
        rule["Prefix"]
        for rule in warehouse["Properties"]["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule
    }
    assert expiring == {"lake/staging/", "lake/athena/", "billing-lake-pipes/", "dagster-logs/"}


def test_what_only_passes_through_the_warehouse_is_not_paid_for_once_it_is_removed(
    stacks: Stacks,
) -> None:
    found = stacks.resources("lake", "AWS::S3::Bucket").items()
    warehouse = next(one for key, one in found if key.startswith("Warehouse"))
    days = {
        rule.get("Prefix", ""): rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
        for rule in warehouse["Properties"]["LifecycleConfiguration"]["Rules"]
    }
    assert days.pop("") == 30
    assert set(days) >= {"lake/staging/", "billing-lake-pipes/"}
    assert set(days.values()) == {1}


def test_the_database_is_of_no_minor_version_that_aws_takes_out_of_service(stacks: Stacks) -> None:
    for database in stacks.all_resources("AWS::RDS::DBInstance"):
        assert database["Properties"]["EngineVersion"] == "17"


def test_no_secret_is_in_plain_sight(stacks: Stacks) -> None:
    text = json.dumps([stacks.template(kind) for kind in stacks.kinds])
    assert not re.findall(r'"(?:Master)?[Pp]assword": "(?!\{\{resolve:)', text)
    for secret in re.findall(r'"ClientSecret": ("[^"]*"|\{)', text):
        assert secret.startswith('"{{resolve:secretsmanager:')
    for database in stacks.all_resources("AWS::RDS::DBInstance"):
        password = json.dumps(database["Properties"]["MasterUserPassword"])
        assert "{{resolve:secretsmanager:" in password


def test_only_the_payers_exports_are_let_in(checked: Checked) -> None:
    for kind, payer in (("default", ACCOUNT), ("everything", "210987654321")):
        policies = checked[1][kind].resources("lake", "AWS::S3::BucketPolicy")
        (landing,) = [one for key, one in policies.items() if key.startswith("Landing")]
        found = landing["Properties"]["PolicyDocument"]["Statement"]
        services = {
            "bcm-data-exports.amazonaws.com": f"arn:aws:bcm-data-exports:us-east-1:{payer}:export/*",
            "billingreports.amazonaws.com": f"arn:aws:cur:us-east-1:{payer}:definition/*",
        }
        for service, source in services.items():
            its = [one for one in found if one["Principal"] == {"Service": service}]
            assert {action for one in its for action in as_list(one["Action"])} == {
                *("s3:GetBucketAcl", "s3:GetBucketPolicy", "s3:PutObject")
            }
            for one in its:
                assert one["Condition"] == {
                    "StringEquals": {"aws:SourceAccount": payer},
                    "ArnLike": {"aws:SourceArn": source},
                }


def test_an_export_is_told_whose_the_bucket_is_where_another_account_pays(checked: Checked) -> None:
    for kind, owner in (("default", None), ("everything", ACCOUNT)):
        found = checked[1][kind]
        for one in found.resources("exports", "AWS::BCMDataExports::Export").values():
            to = one["Properties"]["Export"]["DestinationConfigurations"]["S3Destination"]
            assert to["S3Bucket"] == f"{found.name}-exports-{ACCOUNT}-{REGION}"
            assert to.get("S3BucketOwner") == owner


def test_the_lakes_account_is_not_guessed_where_another_one_pays(tmp_path: Path) -> None:
    done = run("app.py", tmp_path / "out", payer="210987654321", region=REGION)
    assert done.returncode == 2
    assert "`account` is not given, and `payer` is another one" in done.stderr


def test_the_maintenance_of_table_buckets_may_use_the_key(checked: Checked) -> None:
    (key,) = checked[1]["everything"].resources("lake", "AWS::KMS::Key").values()
    service = {"Service": "maintenance.s3tables.amazonaws.com"}
    found = key["Properties"]["KeyPolicy"]["Statement"]
    (its,) = [one for one in found if one["Principal"] == service]
    bucket = f"arn:aws:s3tables:{REGION}:{ACCOUNT}:bucket/finops-tables"
    assert its["Condition"] == {"StringLike": {"kms:EncryptionContext:aws:s3:arn": f"{bucket}/*"}}


def test_there_are_two_roles_and_more_only_where_a_switch_asks(checked: Checked) -> None:
    def roles(kind: str) -> list[str]:
        found = checked[1][kind].all_resources("AWS::IAM::Role")
        return sorted(one["Properties"]["RoleName"].split(f"{REGION}-")[1] for one in found)

    assert roles("default") == roles("network") == roles("elsewhere") == ["dagster"]
    assert roles("everything") == ["crawler", "dagster", "glue-job", "replication"]
    assert not checked[1]["everything"].all_resources("AWS::Lambda::Function")


def test_dagsters_role_has_the_products_rights_and_no_others(checked: Checked) -> None:
    left_out = {"glue:CreateDatabase", "s3tables:CreateNamespace"}
    listed = {action for right in RIGHTS for action in right.actions}
    switched = {
        action
        for right in RIGHTS
        if right.feature in {"Glue job", "Glue crawler"}
        for action in right.actions
        if action.startswith(("glue:", "iam:"))
    }
    assert actions(checked[1]["elsewhere"], "dagster") == listed - left_out - switched
    added = {"kms:Decrypt", "kms:GenerateDataKey", "lakeformation:GetDataAccess"}
    with_all = actions(checked[1]["everything"], "dagster")
    of_ecs = {one for one in with_all if one.split(":")[0] in OF_ECS} | {"iam:PassRole"}
    assert with_all - of_ecs == listed - left_out - {"iam:PassRole"} | added


OF_ECS = {"ecs", "ec2", "ecr", "logs", "ssmmessages", "secretsmanager"}


def test_the_documentation_has_the_table_of_rights_that_the_roles_make(checked: Checked) -> None:
    table = (checked[1]["default"].folder.parent / "rights.md").read_text(encoding="utf-8")
    assert table in (ROOT / "docs" / "deploy-on-aws.md").read_text(encoding="utf-8")


def test_no_statement_grants_more_than_its_actions_name(stacks: Stacks) -> None:
    for role in ("dagster", "glue-job", "crawler"):
        found = statements(stacks, role)
        assert not [one for one in found if one["Effect"] != "Allow"]
        assert not [action for action in actions(stacks, role) if "*" in action]
        named = [one["Sid"] for one in found]
        assert all(re.fullmatch(r"[A-Za-z0-9]+\d+", name) for name in named)


def allowed(stacks: Stacks, role: str, action: str, resource: str) -> bool:
    """Say whether a role's policies allow something."""
    # What CloudFormation will put in, such as the key, is none of what is asked for here.
    known = [
        {**one, "Resource": [text for text in as_list(one["Resource"]) if isinstance(text, str)]}
        for one in statements(stacks, role)
    ]
    document = {"Version": "2012-10-17", "Statement": known}
    return allows(Asked(role, action, resource), [document])


@pytest.mark.parametrize("kind", ["default", "everything"])
def test_dagsters_role_may_do_what_athena_asks_for_on_behalf_of_a_query(
    checked: Checked, kind: str
) -> None:
    found = checked[1][kind]
    glue, tables = f"arn:aws:glue:{REGION}:{ACCOUNT}", f"{found.name}-tables"
    bucket = f"arn:aws:s3tables:{REGION}:{ACCOUNT}:bucket/{tables}"
    results = f"arn:aws:s3:::{found.name}-warehouse-{ACCOUNT}-{REGION}"
    federated = (
        *("catalog", "catalog/s3tablescatalog", f"catalog/s3tablescatalog/{tables}"),
        f"database/s3tablescatalog/{tables}/billing",
        f"table/s3tablescatalog/{tables}/billing/cur2",
    )
    asked = [
        *(("glue:GetDatabase", f"{glue}:{one}") for one in ("catalog", "database/default")),
        *(
            (f"glue:{action}", f"{glue}:{one}")
            for action in ("GetCatalog", "GetDatabase", "GetTable")
            for one in federated
        ),
        *((f"s3tables:{one}", bucket) for one in ("GetTableBucket", "GetNamespace")),
        *(
            (f"s3tables:{one}", f"{bucket}/table/0f1e2d3c")
            for one in ("GetTable", "GetTableMetadataLocation", "GetTableData")
        ),
        *((f"s3:{one}", results) for one in ("GetBucketLocation", "ListBucketMultipartUploads")),
        ("s3:ListMultipartUploadParts", f"{results}/lake/athena/0f1e2d3c.csv"),
    ]
    assert [one for one in asked if not allowed(found, "dagster", *one)] == []
    assert not allowed(found, "dagster", "glue:GetDatabase", f"{glue}:database/of_another_team")


def test_the_job_may_mark_each_folder_that_it_makes_as_the_file_system_of_glue_does(
    checked: Checked,
) -> None:
    found = checked[1]["everything"]
    warehouse = f"arn:aws:s3:::{found.name}-warehouse-{ACCOUNT}-{REGION}"
    for folder in (
        "lake/staging/0f1e",
        "lake/hive/_generations/billing.cur2/billing_period=2025-03",
    ):
        parts = folder.split("/")
        for depth in range(1, len(parts) + 1):
            marker = f"{warehouse}/{'/'.join(parts[:depth])}_$folder$"
            assert allowed(found, "glue-job", "s3:PutObject", marker), marker
    assert not allowed(found, "glue-job", "s3:PutObject", f"{warehouse}/lake/iceberg/x")


def test_the_policies_of_a_role_fit_into_it(stacks: Stacks) -> None:
    sizes = [
        len(json.dumps(statements(stacks, role), separators=(",", ":")))
        for role in ("dagster", "glue-job", "crawler")
    ]
    assert max(sizes) < ROLE_POLICIES_MOST_CHARACTERS - 500


def test_one_export_of_a_bill_counts(stacks: Stacks) -> None:
    made = "exports" in stacks.kinds and "FOCUS_1_2_AWS" in queries(stacks)
    for task in stacks.all_resources("AWS::ECS::TaskDefinition"):
        for container in task["Properties"]["ContainerDefinitions"]:
            environment = {one["Name"]: one["Value"] for one in container["Environment"]}
            assert environment["BILLING_LAKE_COUNTS_CUR2"] == ("false" if made else "true")


def queries(stacks: Stacks) -> dict[str, list[str]]:
    """Columns that the exports ask for, by table."""
    found = {}
    for one in stacks.resources("exports", "AWS::BCMDataExports::Export").values():
        sentence = one["Properties"]["Export"]["DataQuery"]["QueryStatement"]
        matched = re.fullmatch(r"SELECT (.*) FROM (\w+)", sentence)
        assert matched is not None
        assert len(sentence) < 36_000
        found[matched[2]] = matched[1].split(", ")
    return found


def test_the_exports_ask_for_the_columns_that_the_formats_know(checked: Checked) -> None:
    asked = queries(checked[1]["default"])
    optional = [one for brought in CUR2_OPTIONAL_COLUMNS.values() for one in brought]
    assert {*CUR2_COLUMNS, *optional} == set(CUR2_DICTIONARY)
    split = CUR2_OPTIONAL_COLUMNS["INCLUDE_SPLIT_COST_ALLOCATION_DATA"]
    assert set(asked["COST_AND_USAGE_REPORT"]) == {*CUR2_COLUMNS, *split, "line_item_resource_id"}
    assert asked["FOCUS_1_2_AWS"] == sorted(FOCUS_COLUMNS, key=str.lower)
    assert {one.lower() for one in FOCUS_COLUMNS} <= set(FOCUS_DICTIONARY)
    assert len(set(FOCUS_COLUMNS)) == 60


def test_the_exports_are_of_files_that_the_product_reads(checked: Checked) -> None:
    endings = {"PARQUET": "x-00001.snappy.parquet", "GZIP": "x-00001.csv.gz"}
    found = set()
    for kind in ("default", "everything"):
        for one in checked[1][kind].resources("exports", "AWS::BCMDataExports::Export").values():
            to = one["Properties"]["Export"]["DestinationConfigurations"]["S3Destination"]
            written = to["S3OutputConfigurations"]
            assert CUR2.is_report_file(
                f"exports/e/data/BILLING_PERIOD=2025-03/{endings[written['Compression']]}"
            )
            assert written["Overwrite"] == "CREATE_NEW_REPORT"
            assert (to["S3Prefix"], to["S3Region"]) == ("exports", REGION)
            found.add((written["Format"], written["Compression"]))
    assert found == {("PARQUET", "PARQUET"), ("TEXT_OR_CSV", "GZIP")}


def test_a_migration_comes_before_the_daemon_and_one_daemon_alone(checked: Checked) -> None:
    found = checked[1]["default"]
    (service,) = found.all_resources("AWS::ECS::Service")
    deployment = service["Properties"]["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
    assert service["Properties"]["DesiredCount"] == 1
    tasks = [one["Properties"] for one in found.all_resources("AWS::ECS::TaskDefinition")]
    (dagster,) = [task for task in tasks if task["Family"] == "billing-lake-dagster"]
    waits: dict[str, list[tuple[str, str]]] = {
        one["Name"]: [(w["ContainerName"], w["Condition"]) for w in one.get("DependsOn", [])]
        for one in dagster["ContainerDefinitions"]
    }
    assert waits == {
        "migrate": [],
        "code": [("migrate", "SUCCESS")],
        "webserver": [("code", "HEALTHY")],
        "daemon": [("code", "HEALTHY")],
    }


def test_somebody_is_told_when_it_stops(checked: Checked) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:billing-lake-alerts"
    alarms: list[Resource] = checked[1]["default"].all_resources("AWS::CloudWatch::Alarm")
    assert len(alarms) == 4
    assert all(one["Properties"]["AlarmActions"] == [topic] for one in alarms)
    silent = [one for one in alarms if one["Properties"]["TreatMissingData"] == "breaching"]
    hours = {
        one["Properties"]["Period"] * one["Properties"]["EvaluationPeriods"] / 3600
        for one in silent
    }
    assert hours == {0.25, 48}
    (rule,) = checked[1]["default"].all_resources("AWS::Events::Rule")
    assert [one["Arn"] for one in rule["Properties"]["Targets"]] == [topic]
    assert rule["Properties"]["EventPattern"]["detail"]["lastStatus"] == ["STOPPED"]


def test_no_condition_keeps_eventbridge_from_telling_that_a_task_stopped(checked: Checked) -> None:
    for kind in ("default", "everything"):
        found = checked[1][kind]
        topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{found.name}-alerts"
        events = {"Service": "events.amazonaws.com"}
        (policy,) = found.resources("lake", "AWS::SNS::TopicPolicy").values()
        listed = policy["Properties"]["PolicyDocument"]["Statement"]
        (its,) = [one for one in listed if one["Principal"] == events]
        assert (its["Action"], "Condition" in its) == ("sns:Publish", False)
        for key in found.resources("lake", "AWS::KMS::Key").values():
            used = key["Properties"]["KeyPolicy"]["Statement"]
            (its,) = [one for one in used if one["Principal"] == events]
            # Neither does it state an account to the key; the topic that it writes to is known.
            assert its["Condition"] == {
                "StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": topic}
            }


def test_the_templates_of_a_release_fit_into_one_call(checked: Checked) -> None:
    portable = checked[1]["portable"]
    sizes = [one.stat().st_size for one in portable.folder.glob("*.template.json")]
    assert len(sizes) == 3
    assert max(sizes) < 51_200
    assert "cdk-bootstrap" not in json.dumps([portable.template(kind) for kind in portable.kinds])


def test_the_cdk_builds_the_image_of_all_that_its_steps_copy(checked: Checked) -> None:
    listed = json.loads(
        (checked[1]["network"].folder / "billing-lake-dagster.assets.json").read_text()
    )
    (image,) = listed["dockerImages"].values()
    folder = checked[1]["network"].folder / image["source"]["directory"]
    assert image["source"]["dockerFile"] == "infra/image/Dockerfile"
    assert image["source"]["platform"] == "linux/arm64"
    dockerfile = (folder / "infra" / "image" / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for source in line.replace("${DEFS}", "infra/image/defs").split()[:-1]
    ]
    assert len(copied) > 5
    assert [source for source in copied if not (folder / source).exists()] == []
    assert not (folder / "billing_lake_tests").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pyer": ACCOUNT}, "`pyer` is unknown. Did you mean `payer`?"),
        ({"payer": "12"}, "`payer` is '12'. Set it to 12 digits"),
        ({"kms": "yes"}, "`kms` is 'yes'. Set it to true or false"),
        ({"engine": "spark"}, "`engine` is 'spark'. Set it to polars or glue"),
        ({"exports": "cur3"}, "`exports` is 'cur3'"),
        ({"name": "Finops"}, "`name` is 'Finops'"),
        ({"log_days": "31"}, "`log_days` is 31"),
        ({"runs": "0"}, "`runs` is 0. Set it to 1 to 20"),
        ({"run_memory_mb": "3000"}, "`run_memory_mb` is 3000, which Fargate has not"),
        ({"ui": "oidc"}, "`ui_certificate` is not given. It is needed because ui is oidc"),
        ({"vpc": "vpc-01234567"}, "`vpc_zones` is not given"),
        ({"replicas": REGION}, "`replicas` is the lake's own region"),
        ({"budget_usd": "50"}, "`alerts_email` is not given"),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_context({"account": ACCOUNT, "region": REGION, **given})
    assert said in str(caught.value)
