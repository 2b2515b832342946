"""The lake: buckets, table bucket, databases, workgroup, the roles, and the environment that tells the product about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lakeformation as lakeformation
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_s3tables as s3tables
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from billing_lake_infra.acknowledged import acknowledge, acknowledge_wildcards
from billing_lake_infra.buckets import Buckets
from billing_lake_infra.names import LAKE_FOLDER, Names
from billing_lake_infra.roles import Granted, crawler_rights, document, job_rights, lake_rights
from billing_lake_infra.settings import Settings, SettingsError

_GIGABYTE = 1_000_000_000
_DAYS_UNREFERENCED, _DAYS_NONCURRENT = 3, 10
"""S3 Tables' own defaults, written down: after how long files that no snapshot refers to are taken away."""


def environment(settings: Settings, names: Names) -> dict[str, str]:
    """Return the product's environment: the outputs of the stack and the variables of the containers."""
    warehouse = f"s3://{names.warehouse}/{LAKE_FOLDER}"
    known = {
        "BILLING_LAKE_DEPLOYMENT": "aws",
        "AWS_REGION": names.region,
        "BILLING_LAKE_LANDING_BUCKET": names.landing,
        "BILLING_LAKE_WAREHOUSE": warehouse,
        "BILLING_LAKE_TABLE_BUCKET_ARN": names.table_bucket_arn,
        "BILLING_LAKE_ENGINE": settings.engine,
        "BILLING_LAKE_PIPES_BUCKET": names.warehouse,
        "BILLING_LAKE_CRAWLED_DATABASE": settings.crawled_database,
        "BILLING_LAKE_ATHENA_WORKGROUP": settings.name,
        "BILLING_LAKE_ATHENA_OUTPUT": f"{warehouse}/athena",
    }
    if settings.with_glue:
        known |= {
            "BILLING_LAKE_GLUE_JOB": settings.name,
            "BILLING_LAKE_GLUE_WORKER_TYPE": settings.glue_worker_type,
            "BILLING_LAKE_GLUE_WORKERS": str(settings.glue_workers),
            "BILLING_LAKE_GLUE_TIMEOUT_MINUTES": str(settings.glue_timeout_minutes),
        }
    if settings.crawler:
        known["BILLING_LAKE_GLUE_CRAWLER_ROLE"] = names.role_arn("crawler")
    return known


class LakeStack(cdk.Stack):
    """Everything that holds data, and what may touch it."""

    def __init__(
        self, scope: Construct, settings: Settings, glue_package: Path, **given: Any
    ) -> None:
        super().__init__(scope, f"{settings.name}-lake", **given)
        self.settings = settings
        self.names = Names(settings)
        self.key = self._key() if settings.kms else None
        self.key_arn = self.key.key_arn if self.key else ""
        self.buckets = Buckets(self, settings, self.names, self.key)
        self._table_bucket()
        self._databases()
        self._workgroup()
        self._topic()
        self._dagster_role()
        if settings.with_glue:
            self._job(glue_package)
        if settings.crawler:
            self._role("crawler", "glue.amazonaws.com", crawler_rights(settings, self.names))
        if settings.lake_formation:
            self._grants()
        if settings.s3tables_catalog:
            self._s3tables_catalog()
        if settings.budget_usd:
            self._budget()
        self._outputs()

    def _key(self) -> kms.Key:
        """Make the one key; the services that write on nobody's behalf are named in its policy."""
        key = kms.Key(
            self,
            "Key",
            alias=f"alias/{self.settings.name}",
            enable_key_rotation=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        logs = self.names.arn("logs", f"log-group:/billing-lake/{self.settings.name}/*")
        tables = f"{self.names.table_bucket_arn}/*"
        for service, conditions in (
            (
                "maintenance.s3tables.amazonaws.com",
                # It states the table in place of the account that it works for.
                {"StringLike": {"kms:EncryptionContext:aws:s3:arn": tables}},
            ),
            (
                "cloudwatch.amazonaws.com",
                {"StringEquals": {"aws:SourceAccount": self.names.account}},
            ),
            (
                "events.amazonaws.com",
                # Its requests state no account.
                {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": self.names.topic_arn}},
            ),
            (
                f"logs.{self.names.region}.amazonaws.com",
                {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            ),
        ):
            key.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal(service)],
                    actions=[
                        "kms:Decrypt",
                        "kms:Encrypt",
                        "kms:GenerateDataKey*",
                        "kms:DescribeKey",
                    ],
                    resources=["*"],
                    conditions=conditions,
                )
            )
        return key

    def _table_bucket(self) -> None:
        encryption = s3tables.CfnTableBucket.EncryptionConfigurationProperty(sse_algorithm="AES256")
        if self.key is not None:
            encryption = s3tables.CfnTableBucket.EncryptionConfigurationProperty(
                sse_algorithm="aws:kms", kms_key_arn=self.key.key_arn
            )
        bucket = s3tables.CfnTableBucket(
            self,
            "TableBucket",
            table_bucket_name=self.names.table_bucket,
            encryption_configuration=encryption,
            unreferenced_file_removal=s3tables.CfnTableBucket.UnreferencedFileRemovalProperty(
                status="Enabled",
                unreferenced_days=_DAYS_UNREFERENCED,
                noncurrent_days=_DAYS_NONCURRENT,
            ),
        )
        bucket.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
        for namespace in self.settings.namespaces:
            made = s3tables.CfnNamespace(
                self,
                f"Namespace{namespace}",
                table_bucket_arn=bucket.attr_table_bucket_arn,
                namespace=namespace,
            )
            made.apply_removal_policy(cdk.RemovalPolicy.RETAIN)

    def _databases(self) -> None:
        for name in self.settings.databases:
            database = glue.CfnDatabase(
                self,
                f"Database{name}",
                catalog_id=self.names.account,
                database_input=glue.CfnDatabase.DatabaseInputProperty(
                    name=name, description="Billing Lake"
                ),
            )
            database.apply_removal_policy(cdk.RemovalPolicy.RETAIN)

    def _workgroup(self) -> None:
        encryption = athena.CfnWorkGroup.EncryptionConfigurationProperty(encryption_option="SSE_S3")
        if self.key is not None:
            encryption = athena.CfnWorkGroup.EncryptionConfigurationProperty(
                encryption_option="SSE_KMS", kms_key=self.key.key_arn
            )
        athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=self.settings.name,
            description="Queries of Billing Lake",
            state="ENABLED",
            recursive_delete_option=False,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=self.settings.athena_scan_gb * _GIGABYTE,
                engine_version=athena.CfnWorkGroup.EngineVersionProperty(
                    selected_engine_version="Athena engine version 3"
                ),
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=f"s3://{self.names.warehouse}/{LAKE_FOLDER}/athena/",
                    encryption_configuration=encryption,
                ),
            ),
        )

    def _topic(self) -> None:
        """Make the topic of alarms and alerts; the services that send alarms are let in, from this account only where they state it."""
        topic = sns.Topic(
            self,
            "Alerts",
            topic_name=f"{self.settings.name}-alerts",
            master_key=self.key,
            enforce_ssl=True,
        )
        account = {"StringEquals": {"aws:SourceAccount": self.names.account}}
        for service, conditions in (
            ("cloudwatch", account),
            ("events", None),  # EventBridge takes no condition in the policy of a topic.
            ("budgets", account),
        ):
            topic.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=f"{service.capitalize()}Publishes",
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions=conditions,
                )
            )
        if self.settings.alerts_email:
            topic.add_subscription(subscriptions.EmailSubscription(self.settings.alerts_email))

    def _dagster_role(self) -> None:
        """Make the role that Dagster has; where Dagster runs elsewhere, people and machines of the account may take it."""
        trusted: iam.IPrincipal = iam.ServicePrincipal("ecs-tasks.amazonaws.com")
        if not self.settings.dagster:
            trusted = iam.AccountPrincipal(self.names.account)
        self._role("dagster", trusted, lake_rights(self.settings, self.names, self.key_arn))

    def _role(self, kind: str, trusted: iam.IPrincipal | str, granted: list[Granted]) -> iam.Role:
        if isinstance(trusted, str):
            trusted = iam.ServicePrincipal(
                trusted, conditions={"StringEquals": {"aws:SourceAccount": self.names.account}}
            )
        words = "".join(word.capitalize() for word in kind.split("-"))
        role = iam.Role(
            self,
            f"{words}Role",
            role_name=self.names.role(kind),
            assumed_by=trusted,
            inline_policies={"Lake": document(granted)},
        )
        acknowledge_wildcards(role, granted)
        return role

    def _job(self, package: Path) -> None:
        """Make the Glue job, of the files that `make glue-package` builds."""
        files = []
        for name in ("glue_main.py", "billing_lake.zip"):
            file = package / name
            if not file.is_file():
                raise SettingsError(
                    "glue", f"needs {file}, which does not exist", "Run `make glue-package`"
                )
            files.append(assets.Asset(self, f"Glue{file.suffix[1:].capitalize()}", path=str(file)))
        script, library = files
        keys = tuple(
            f"arn:{self.names.partition}:s3:::{one.s3_bucket_name}/{one.s3_object_key}"
            for one in files
        )
        role = self._role(
            "glue-job", "glue.amazonaws.com", job_rights(self.names, keys, self.key_arn)
        )
        arguments = {"--extra-py-files": library.s3_object_url}
        secured = None
        if self.key is not None:
            secured = self._security_configuration(self.key).name
        job = glue.CfnJob(
            self,
            "Job",
            name=self.settings.name,
            description="Reads and encodes report files for Billing Lake",
            role=role.role_arn,
            glue_version="5.0",
            worker_type=self.settings.glue_worker_type,
            number_of_workers=self.settings.glue_workers,
            command=glue.CfnJob.JobCommandProperty(
                name="glueetl", script_location=script.s3_object_url, python_version="3"
            ),
            default_arguments=arguments,
            # Dagster repeats a step; a second attempt of Glue's would write into the first one's messages.
            max_retries=0,
            timeout=self.settings.glue_timeout_minutes,
            execution_property=glue.CfnJob.ExecutionPropertyProperty(
                max_concurrent_runs=self.settings.glue_concurrent_runs
            ),
            security_configuration=secured,
        )
        logs = "the job's logs hold counts and names of files, no rows"
        acknowledge(job, {"GL1": logs, "GL3": "the job keeps no bookmarks"})

    def _security_configuration(self, key: kms.Key) -> glue.CfnSecurityConfiguration:
        made = glue.CfnSecurityConfiguration
        return made(
            self,
            "JobSecurity",
            name=self.settings.name,
            encryption_configuration=made.EncryptionConfigurationProperty(
                s3_encryptions=[
                    made.S3EncryptionProperty(s3_encryption_mode="SSE-KMS", kms_key_arn=key.key_arn)
                ],
            ),
        )

    def _grants(self) -> None:
        """Grant the roles their databases and tables in Lake Formation; its settings of the account are not touched."""
        grants = lakeformation.CfnPrincipalPermissions
        principals = [("Dagster", "dagster", self.settings.databases)]
        if self.settings.crawler:
            principals.append(("Crawler", "crawler", (self.settings.crawled_database,)))
        for label, kind, databases in principals:
            role = grants.DataLakePrincipalProperty(
                data_lake_principal_identifier=self.names.role_arn(kind)
            )
            for database in databases:
                catalog = self.names.account
                on_database = grants.ResourceProperty(
                    database=grants.DatabaseResourceProperty(catalog_id=catalog, name=database)
                )
                on_tables = grants.ResourceProperty(
                    table=grants.TableResourceProperty(
                        catalog_id=catalog, database_name=database, table_wildcard={}
                    )
                )
                for what, resource, rights in (
                    ("Database", on_database, ["ALTER", "CREATE_TABLE", "DESCRIBE", "DROP"]),
                    (
                        "Tables",
                        on_tables,
                        ["ALTER", "DELETE", "DESCRIBE", "DROP", "INSERT", "SELECT"],
                    ),
                ):
                    made = grants(
                        self,
                        f"{label}{what}{database}",
                        principal=role,
                        resource=resource,
                        permissions=rights,
                        permissions_with_grant_option=[],
                    )
                    made.node.add_dependency(
                        self.node.find_child(f"Database{database}"),
                        self.node.find_child(f"{label}Role"),
                    )

    def _s3tables_catalog(self) -> None:
        """Make the catalog through which Athena sees table buckets, governed by IAM alone."""
        everybody = {
            "Principal": {"DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS"},
            "Permissions": ["ALL"],
        }
        catalog = cdk.CfnResource(
            self,
            "S3TablesCatalog",
            type="AWS::Glue::Catalog",
            properties={
                "Name": "s3tablescatalog",
                "FederatedCatalog": {
                    "ConnectionName": "aws:s3tables",
                    "Identifier": self.names.arn("s3tables", "bucket/*"),
                },
                "CreateDatabaseDefaultPermissions": [everybody],
                "CreateTableDefaultPermissions": [everybody],
            },
        )
        catalog.apply_removal_policy(cdk.RemovalPolicy.RETAIN)

    def _budget(self) -> None:
        made = budgets.CfnBudget
        subscriber = made.SubscriberProperty(
            address=self.settings.alerts_email, subscription_type="EMAIL"
        )
        made(
            self,
            "Budget",
            budget=made.BudgetDataProperty(
                budget_name=self.settings.name,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=made.SpendProperty(amount=self.settings.budget_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:billing-lake${self.settings.name}"]},
            ),
            notifications_with_subscribers=[
                made.NotificationWithSubscribersProperty(
                    notification=made.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type="ACTUAL",
                        threshold=100,
                    ),
                    subscribers=[subscriber],
                )
            ],
        )

    def _outputs(self) -> None:
        """Write the environment down as outputs; the description of each is the variable's name."""
        for variable, value in environment(self.settings, self.names).items():
            words = "".join(word.capitalize() for word in variable.split("_"))
            cdk.CfnOutput(self, words, description=variable, value=value)
        for words, value in (
            ("AlertsTopicArn", self.names.topic_arn),
            ("DagsterRoleArn", self.names.role_arn("dagster")),
        ):
            cdk.CfnOutput(self, words, value=value)
