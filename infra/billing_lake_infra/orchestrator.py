"""Dagster on ECS: one task for code server, webserver and daemon, a task for each run, PostgreSQL for the history.

Nothing listens to the internet: the task's security group lets nobody in, and its address serves for going out alone. Where the
company's login is wanted in place of port forwarding, a load balancer asks for it first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from constructs import Construct

from billing_lake_infra.acknowledged import acknowledge, acknowledge_wildcards
from billing_lake_infra.alarms import add_alarms
from billing_lake_infra.lake import environment
from billing_lake_infra.login import UI_PORT, add_login
from billing_lake_infra.names import Names
from billing_lake_infra.network import Network
from billing_lake_infra.roles import document, orchestrator_rights
from billing_lake_infra.settings import EXPORTS, Settings

CODE_PORT = 4000
_IMAGE_FILES = (
    *("billing_lake", "infra/image", "requirements/build.txt", "requirements/ecs.txt"),
    *("pyproject.toml", "setup.py", "README.md"),
)
"""What the Dockerfile takes from the checkout."""

_DATABASE_PORT = 5432
_DATABASE_GB, _DATABASE_MOST_GB = 20, 100
_DATABASE_VERSION = "17"
"""Major version alone: RDS takes its present minor one, and refuses to make a database of one that is a year old."""
_URL_UNSAFE = " %+~`#$&*()|[]{}:;<>?!'/@\"\\=^,"
"""Characters that a password must not have: it becomes part of an address."""


class DagsterStack(cdk.Stack):
    """The Dagster that loads the lake."""

    def __init__(
        self, scope: Construct, settings: Settings, key: kms.Key | None, **given: Any
    ) -> None:
        super().__init__(scope, f"{settings.name}-dagster", **given)
        self.settings = settings
        self.names = Names(settings)
        self.key = key
        self.network = Network(self, settings, self.names)
        self.tasks_group = ec2.SecurityGroup(
            self,
            "Tasks",
            vpc=self.network.vpc,
            description="Billing Lake: Dagster and its runs",
            allow_all_outbound=True,
        )
        self.database = self._database()
        self.role = iam.Role.from_role_arn(
            self, "Role", self.names.role_arn("dagster"), mutable=False
        )
        assert self.database.secret is not None  # noqa: S101 -- it is generated
        granted = orchestrator_rights(settings, self.names, self.database.secret.secret_arn)
        self.policy = iam.CfnPolicy(
            self,
            "Orchestration",
            policy_name="Orchestration",
            roles=[self.names.role("dagster")],
            policy_document=document(granted),
        )
        acknowledge_wildcards(self.policy, granted)
        self.image = self._image()
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=self.names.cluster,
            vpc=self.network.vpc,
            container_insights_v2=ecs.ContainerInsights.DISABLED,
        )
        acknowledge(
            self.cluster,
            {"ECS4": "Container Insights cost dollars for each task; alarms need none"},
        )
        self.log_groups = {kind: self._log_group(kind) for kind in ("dagster", "runs")}
        run = self._run_task()
        self.service = self._service(self._dagster_task(run))
        if settings.ui == "oidc":
            add_login(self, settings, self.names, self.network, self.service, self.tasks_group)
        add_alarms(self, settings, self.names, self.database)
        for words, value in (
            ("ClusterName", self.names.cluster),
            ("ServiceName", self.service.service_name),
            ("DatabaseSecretArn", self.database.secret.secret_arn),
        ):
            cdk.CfnOutput(self, words, value=value)

    def _database(self) -> rds.DatabaseInstance:
        group = ec2.SecurityGroup(
            self,
            "DatabaseGroup",
            vpc=self.network.vpc,
            description="Billing Lake: database of Dagster",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(
            self.tasks_group, ec2.Port.tcp(_DATABASE_PORT), "Dagster and its runs"
        )
        engine = rds.DatabaseInstanceEngine.postgres(
            version=rds.PostgresEngineVersion.of(_DATABASE_VERSION, _DATABASE_VERSION)
        )
        database = rds.DatabaseInstance(
            self,
            "Database",
            engine=engine,
            instance_type=ec2.InstanceType(self.settings.database_class),
            vpc=self.network.vpc,
            vpc_subnets=self.network.database_subnets,
            security_groups=[group],
            publicly_accessible=False,
            credentials=rds.Credentials.from_generated_secret(
                "dagster", exclude_characters=_URL_UNSAFE, encryption_key=self.key
            ),
            database_name="dagster",
            allocated_storage=_DATABASE_GB,
            max_allocated_storage=_DATABASE_MOST_GB,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            storage_encryption_key=self.key,
            multi_az=self.settings.database_multi_az,
            backup_retention=cdk.Duration.days(self.settings.backup_days),
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT,
            auto_minor_version_upgrade=True,
            parameters={"rds.force_ssl": "1"},
        )
        resource = database.node.default_child
        assert isinstance(resource, rds.CfnDBInstance)  # noqa: S101 -- for the type
        # cfn-lint takes a major version alone for one that is out of service.
        resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3691"]}})
        findings = {
            "RDS11": "nothing but the tasks reaches the database, so another port hides nothing"
        }
        if not self.settings.database_multi_az:
            findings["RDS3"] = (
                "it holds Dagster's history, not the bill; `database_multi_az` doubles it"
            )
        acknowledge(database, findings)
        acknowledge(
            database.node.find_child("Secret"),
            {
                "SMG4": "Dagster reads the password when it starts, so rotation would stop it; the database is reached from the tasks only"
            },
        )
        return database

    def _image(self) -> ecs.ContainerImage:
        if self.settings.image == "build":
            # Of the repository's root, where the Dockerfile finds the product; needs Docker.
            return ecs.ContainerImage.from_asset(
                str(Path(__file__).resolve().parents[2]),
                file="infra/image/Dockerfile",
                exclude=["*", *(f"!{one}" for one in _IMAGE_FILES), "**/__pycache__"],
                platform=assets.Platform.LINUX_ARM64,
            )
        if self.settings.image:
            return ecs.ContainerImage.from_registry(self.settings.image)
        parameter = cdk.CfnParameter(
            self, "Image", description="Image of Dagster with Billing Lake, with its tag or digest"
        )
        return ecs.ContainerImage.from_registry(parameter.value_as_string)

    def _log_group(self, kind: str) -> logs.ILogGroup:
        group = logs.CfnLogGroup(
            self,
            f"{kind.capitalize()}Logs",
            log_group_name=self.names.log_group(kind),
            retention_in_days=self.settings.log_days,
            kms_key_id=self.key.key_arn if self.key else None,
        )
        group.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
        return logs.LogGroup.from_log_group_name(self, f"{kind.capitalize()}LogGroup", group.ref)

    def _task(self, family: str, cpu: int, memory_mb: int) -> ecs.FargateTaskDefinition:
        task = ecs.FargateTaskDefinition(
            self,
            "RunTask" if family == self.names.run_family else "DagsterTask",
            family=family,
            cpu=cpu,
            memory_limit_mib=memory_mb,
            task_role=self.role,
            execution_role=self.role,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64,
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
        )
        acknowledge(
            task, {"ECS2": "settings are no secrets; the password comes from Secrets Manager"}
        )
        return task

    def _container(
        self,
        task: ecs.FargateTaskDefinition,
        name: str,
        command: list[str],
        run_task: str,
        **given: Any,
    ) -> ecs.ContainerDefinition:
        """Add a container to a task: all of them have the same image, environment and secret."""
        assert self.database.secret is not None  # noqa: S101 -- it is generated
        secrets = {
            variable: ecs.Secret.from_secrets_manager(self.database.secret, key)
            for variable, key in (
                ("DAGSTER_POSTGRES_USER", "username"),
                ("DAGSTER_POSTGRES_PASSWORD", "password"),
            )
        }
        kind = "runs" if name == "run" else "dagster"
        return task.add_container(
            name,
            container_name=name,
            image=self.image,
            command=command,
            environment={
                **environment(self.settings, self.names),
                # Of every kind, because `defs.yaml` in the image asks for its name whether or not it is made.
                **{
                    f"BILLING_LAKE_EXPORT_{kind.upper()}": self.names.export(kind)
                    for kind in EXPORTS
                },
                # Two exports of one bill would count it twice in `all_costs`; that of FOCUS is after discounts.
                "BILLING_LAKE_COUNTS_CUR2": str("focus" not in self.settings.exports).lower(),
                "BILLING_LAKE_ALERTS_TOPIC": self.names.topic_arn,
                **self._address(),
                "BILLING_LAKE_LOGS_BUCKET": self.names.warehouse,
                "BILLING_LAKE_MAX_RUNS": str(self.settings.runs),
                "BILLING_LAKE_RUN_TASK": run_task,
                "DAGSTER_POSTGRES_HOST": self.database.db_instance_endpoint_address,
                "DAGSTER_POSTGRES_DB": "dagster",
            },
            secrets=secrets,
            logging=ecs.LogDrivers.aws_logs(stream_prefix=name, log_group=self.log_groups[kind]),
            linux_parameters=ecs.LinuxParameters(
                self, f"{name.capitalize()}Linux", init_process_enabled=True
            ),
            **given,
        )

    def _address(self) -> dict[str, str]:
        """Return the variable with the UI's address, to which alerts link, where people share one."""
        if self.settings.ui != "oidc":
            return {}
        return {"BILLING_LAKE_UI_URL": f"https://{self.settings.ui_domain}"}

    def _run_task(self) -> ecs.FargateTaskDefinition:
        """Make the task of a run; the launcher says which run, and a run's tags `ecs/cpu` and `ecs/memory` resize it."""
        run = self._task(self.names.run_family, self.settings.run_cpu, self.settings.run_memory_mb)
        # A definition cannot name its own revision. No run starts runs, so the family is enough here.
        self._container(run, "run", ["dagster", "--version"], self.names.run_family)
        return run

    def _dagster_task(self, run: ecs.FargateTaskDefinition) -> ecs.FargateTaskDefinition:
        """Make the task of Dagster itself: the database is migrated first, then the code server, then the rest."""
        task = self._task(
            f"{self.settings.name}-dagster", self.settings.task_cpu, self.settings.task_memory_mb
        )
        revision = run.task_definition_arn
        migrate = self._container(
            task, "migrate", ["dagster", "instance", "migrate"], revision, essential=False
        )
        code = self._container(
            task,
            "code",
            [
                *("dagster", "code-server", "start", "-h", "127.0.0.1", "-p", str(CODE_PORT)),
                *("-m", "billing_lake.definitions", "--location-name", "billing_lake"),
            ],
            revision,
            health_check=_health(f"dagster api grpc-health-check -p {CODE_PORT}"),
        )
        host = "0.0.0.0" if self.settings.ui == "oidc" else "127.0.0.1"  # noqa: S104 -- for the load balancer only
        webserver = self._container(
            task,
            "webserver",
            ["dagster-webserver", "-h", host, "-p", str(UI_PORT), "-w", "workspace.yaml"],
            revision,
        )
        webserver.add_port_mappings(ecs.PortMapping(container_port=UI_PORT))
        daemon = self._container(
            task,
            "daemon",
            ["dagster-daemon", "run", "-w", "workspace.yaml"],
            revision,
            health_check=_health("dagster-daemon liveness-check"),
        )
        code.add_container_dependencies(
            ecs.ContainerDependency(
                container=migrate, condition=ecs.ContainerDependencyCondition.SUCCESS
            )
        )
        for one in (webserver, daemon):
            one.add_container_dependencies(
                ecs.ContainerDependency(
                    container=code, condition=ecs.ContainerDependencyCondition.HEALTHY
                )
            )
        return task

    def _service(self, task: ecs.FargateTaskDefinition) -> ecs.FargateService:
        """Keep one task running: two daemons at a time would both start runs, so the old one stops first."""
        service = ecs.FargateService(
            self,
            "Service",
            service_name=f"{self.settings.name}-dagster",
            cluster=self.cluster,
            task_definition=task,
            desired_count=1,
            min_healthy_percent=0,
            max_healthy_percent=100,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            assign_public_ip=self.network.public_ip,
            vpc_subnets=self.network.task_subnets,
            security_groups=[self.tasks_group],
            enable_execute_command=True,
        )
        service.node.add_dependency(self.policy)
        return service


def _health(command: str) -> ecs.HealthCheck:
    return ecs.HealthCheck(
        command=["CMD-SHELL", command],
        interval=cdk.Duration.seconds(60),
        timeout=cdk.Duration.seconds(30),
        retries=5,
        start_period=cdk.Duration.seconds(180),
    )
