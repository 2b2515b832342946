"""The buckets: where exports land, where tables are, and where the access to both is written down."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from billing_lake_infra.acknowledged import acknowledge, acknowledge_wildcards
from billing_lake_infra.names import LAKE_FOLDER, PIPES_FOLDER, RUN_LOGS_FOLDER, Names
from billing_lake_infra.roles import document, replication_rights
from billing_lake_infra.settings import Settings

_DAYS_NONCURRENT = 30
_DAYS_SCRATCH_NONCURRENT = 1
_DAYS_INCOMPLETE = 7
_DAYS_STAGED = 7
_DAYS_RESULTS = 30
_DAYS_UNTIL_COLDER = 30
_DAYS_ACCESS_LOGS = 365


class Buckets:
    """Landing bucket, warehouse and access logs; with `replicas`, the first two are copied to another region."""

    def __init__(
        self, scope: Construct, settings: Settings, names: Names, key: kms.Key | None
    ) -> None:
        self.scope = scope
        self.settings = settings
        self.names = names
        self.logs = self._bucket("Logs", names.bucket("logs"), None)
        self.logs.add_lifecycle_rule(
            id="access-logs", expiration=cdk.Duration.days(_DAYS_ACCESS_LOGS)
        )
        self._let_services_write_logs()
        # Data exports promise nothing about buckets that are encrypted by a key of the customer.
        self.landing = self._bucket("Landing", names.landing, None, logged=True)
        self._let_exports_in()
        self._landing_lifecycle()
        self.warehouse = self._bucket("Warehouse", names.warehouse, key, logged=True)
        self._warehouse_lifecycle()
        if settings.replicas:
            self._replicate(key)

    def _bucket(
        self, construct_id: str, name: str, key: kms.Key | None, *, logged: bool = False
    ) -> s3.Bucket:
        bucket = s3.Bucket(
            self.scope,
            construct_id,
            bucket_name=name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            enforce_ssl=True,
            versioned=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
            server_access_logs_bucket=self.logs if logged else None,
            server_access_logs_prefix=f"access/{construct_id.lower()}/" if logged else None,
        )
        bucket.add_lifecycle_rule(
            id="leftovers",
            abort_incomplete_multipart_upload_after=cdk.Duration.days(_DAYS_INCOMPLETE),
            noncurrent_version_expiration=cdk.Duration.days(_DAYS_NONCURRENT),
            expired_object_delete_marker=True,
        )
        return bucket

    def _landing_lifecycle(self) -> None:
        """Move what is no longer read to a cheaper class. Nothing expires: S3 cannot tell the newest delivery of a month."""
        self.landing.add_lifecycle_rule(
            id="read-less-often",
            transitions=[
                s3.Transition(
                    storage_class=s3.StorageClass.INTELLIGENT_TIERING,
                    transition_after=cdk.Duration.days(_DAYS_UNTIL_COLDER),
                )
            ],
        )

    def _warehouse_lifecycle(self) -> None:
        for rule, prefix, days in (
            ("staged", f"{LAKE_FOLDER}/staging/", _DAYS_STAGED),
            ("pipes", f"{PIPES_FOLDER}/", _DAYS_STAGED),
            ("query-results", f"{LAKE_FOLDER}/athena/", _DAYS_RESULTS),
            ("logs-of-runs", f"{RUN_LOGS_FOLDER}/", self.settings.log_days),
        ):
            self.warehouse.add_lifecycle_rule(
                id=rule,
                prefix=prefix,
                expiration=cdk.Duration.days(days),
                # Every month passes through here once more: nobody needs back what was removed, and it is paid for.
                noncurrent_version_expiration=cdk.Duration.days(_DAYS_SCRATCH_NONCURRENT),
            )

    def _let_exports_in(self) -> None:
        """Let both export services write, for the payer's exports only."""
        source = {"aws:SourceAccount": self.names.payer}
        # AWS looks at who owns the bucket and whom it lets in before it makes an export.
        reading = ["s3:GetBucketAcl", "s3:GetBucketPolicy"]
        for service, prefix in (
            ("bcm-data-exports", "bcm-data-exports:us-east-1:{}:export/*"),
            ("billingreports", "cur:us-east-1:{}:definition/*"),
        ):
            arn = f"arn:{self.names.partition}:{prefix.format(self.names.payer)}"
            conditions = {"StringEquals": source, "ArnLike": {"aws:SourceArn": arn}}
            words = "DataExports" if service == "bcm-data-exports" else "CostAndUsageReports"
            for verb, actions, resource in (
                ("Write", ["s3:PutObject"], self.landing.arn_for_objects("*")),
                ("Look", reading, self.landing.bucket_arn),
            ):
                self.landing.add_to_resource_policy(
                    iam.PolicyStatement(
                        sid=f"{words}{verb}",
                        principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                        actions=actions,
                        resources=[resource],
                        conditions=conditions,
                    )
                )

    def _let_services_write_logs(self) -> None:
        """Let the network's flow logs, and the load balancer's logs, be written beside the access logs."""
        account = {"aws:SourceAccount": self.names.account}
        services = [("delivery.logs.amazonaws.com", "network", self.names.arn("logs", "*"))]
        if self.settings.ui == "oidc":
            arn = self.names.arn("elasticloadbalancing", "loadbalancer/*")
            services.append(("logdelivery.elasticloadbalancing.amazonaws.com", "ui", arn))
        for service, folder, source in services:
            principal = iam.ServicePrincipal(service)
            conditions = {"StringEquals": account, "ArnLike": {"aws:SourceArn": source}}
            self.logs.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=f"{folder.capitalize()}LogsWrite",
                    principals=[principal],
                    actions=["s3:PutObject"],
                    resources=[self.logs.arn_for_objects(f"{folder}/*")],
                    conditions=conditions,
                )
            )
            self.logs.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=f"{folder.capitalize()}LogsLook",
                    principals=[principal],
                    actions=["s3:GetBucketAcl"],
                    resources=[self.logs.bucket_arn],
                    conditions=conditions,
                )
            )

    def _replicate(self, key: kms.Key | None) -> None:
        """Copy both buckets to those of the replica stack, which is deployed before this one."""
        granted = replication_rights(self.settings, self.names, key.key_arn if key else "")
        role = iam.Role(
            self.scope,
            "ReplicationRole",
            role_name=self.names.role("replication"),
            assumed_by=iam.ServicePrincipal(
                "s3.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": self.names.account}},
            ),
            inline_policies={"Replication": document(granted)},
        )
        acknowledge_wildcards(role, granted)
        for bucket, kind in ((self.landing, "exports"), (self.warehouse, "warehouse")):
            resource = bucket.node.default_child
            assert isinstance(resource, s3.CfnBucket)  # noqa: S101 -- for the type
            resource.replication_configuration = _replication(
                role.role_arn,
                kind,
                self.names,
                encrypted=key is not None and kind == "warehouse",
            )


def _replication(
    role_arn: str, kind: str, names: Names, *, encrypted: bool
) -> s3.CfnBucket.ReplicationConfigurationProperty:
    """Return the replication of a whole bucket to its copy."""
    settings = names.settings
    arn = f"arn:{names.partition}:s3:::{names.replica(kind)}"
    made = s3.CfnBucket
    criteria = encryption = None
    if encrypted:
        criteria = made.SourceSelectionCriteriaProperty(
            sse_kms_encrypted_objects=made.SseKmsEncryptedObjectsProperty(status="Enabled")
        )
        replica_key = f"arn:{names.partition}:kms:{settings.replicas}:{names.account}:alias/{settings.name}-replica"
        encryption = made.EncryptionConfigurationProperty(replica_kms_key_id=replica_key)
    return made.ReplicationConfigurationProperty(
        role=role_arn,
        rules=[
            made.ReplicationRuleProperty(
                id="all",
                status="Enabled",
                priority=1,
                filter=made.ReplicationRuleFilterProperty(prefix=""),
                delete_marker_replication=made.DeleteMarkerReplicationProperty(status="Disabled"),
                destination=made.ReplicationDestinationProperty(
                    bucket=arn, encryption_configuration=encryption
                ),
                source_selection_criteria=criteria,
            )
        ],
    )


class ReplicaStack(cdk.Stack):
    """Copies of landing bucket and warehouse in another region, written by S3 alone."""

    def __init__(self, scope: Construct, settings: Settings, **given: object) -> None:
        super().__init__(scope, f"{settings.name}-replica", **given)  # type: ignore[arg-type]
        names = Names(settings)
        key = None
        if settings.kms:
            key = kms.Key(
                self,
                "Key",
                alias=f"alias/{settings.name}-replica",
                enable_key_rotation=True,
                removal_policy=cdk.RemovalPolicy.RETAIN,
            )
        for kind in ("exports", "warehouse"):
            encrypted = key if kind == "warehouse" else None
            bucket = s3.Bucket(
                self,
                kind.capitalize(),
                bucket_name=names.replica(kind),
                block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
                object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
                encryption=s3.BucketEncryption.KMS if encrypted else s3.BucketEncryption.S3_MANAGED,
                encryption_key=encrypted,
                enforce_ssl=True,
                versioned=True,
                removal_policy=cdk.RemovalPolicy.RETAIN,
            )
            acknowledge(
                bucket, {"S1": "S3 alone writes the copy; access to the originals is logged"}
            )
            bucket.add_lifecycle_rule(
                id="leftovers",
                noncurrent_version_expiration=cdk.Duration.days(_DAYS_NONCURRENT),
                expired_object_delete_marker=True,
            )
