"""What everything is called: computed from the settings, so that one stack can name what another makes.

A reference across stacks would become an export of CloudFormation, which cannot change while it is used. Where no account or region
is given, the text holds CloudFormation's own parameters for them, and the templates fit any account.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Aws

from billing_lake_infra.settings import Settings

LAKE_FOLDER = "lake"
"""Folder of the warehouse bucket that tables, staged files and values are in."""

PIPES_FOLDER = "billing-lake-pipes"
"""Folder through which a run and its Glue job talk; the product names it."""

RUN_LOGS_FOLDER = "dagster-logs"
"""Folder of the warehouse bucket with what the steps of runs print."""

EXPORTS_FOLDER = "exports"
"""Folder of the landing bucket that exports are delivered to."""


@dataclass(frozen=True)
class Names:
    """Names and addresses of what the stacks make."""

    settings: Settings

    @property
    def account(self) -> str:
        """Account of the lake."""
        return self.settings.account or Aws.ACCOUNT_ID

    @property
    def region(self) -> str:
        """Region of the lake."""
        return self.settings.region or Aws.REGION

    @property
    def payer(self) -> str:
        """Account whose bill is exported."""
        return self.settings.payer or self.account

    @property
    def partition(self) -> str:
        """Partition of AWS, known where the region is."""
        for begin, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
            if self.settings.region.startswith(begin):
                return partition
        return "aws" if self.settings.region else Aws.PARTITION

    def arn(self, service: str, rest: str, *, regional: bool = True) -> str:
        """Return the ARN of something of the lake's account."""
        place = self.region if regional else ""
        return f"arn:{self.partition}:{service}:{place}:{self.account}:{rest}"

    def bucket(self, kind: str) -> str:
        """Return the name of a bucket; all accounts share one space of names."""
        return f"{self.settings.name}-{kind}-{self.account}-{self.region}"

    def bucket_arn(self, kind: str, rest: str = "") -> str:
        """Return the ARN of a bucket, or of objects in it."""
        return f"arn:{self.partition}:s3:::{self.bucket(kind)}{rest}"

    def replica(self, kind: str) -> str:
        """Return the name of a bucket's copy in the other region."""
        return f"{self.settings.name}-{kind}-{self.account}-{self.settings.replicas}"

    @property
    def landing(self) -> str:
        """Bucket that exports are delivered to."""
        return self.bucket("exports")

    @property
    def warehouse(self) -> str:
        """Bucket of the tables."""
        return self.bucket("warehouse")

    @property
    def table_bucket(self) -> str:
        """S3 Tables bucket."""
        return f"{self.settings.name}-tables"

    @property
    def table_bucket_arn(self) -> str:
        """Its ARN."""
        return self.arn("s3tables", f"bucket/{self.table_bucket}")

    def role(self, kind: str) -> str:
        """Return the name of a role: `dagster`, `glue-job`, `crawler`."""
        return f"{self.settings.name}-{self.region}-{kind}"

    def role_arn(self, kind: str) -> str:
        """Return its ARN."""
        return self.arn("iam", f"role/{self.role(kind)}", regional=False)

    @property
    def topic_arn(self) -> str:
        """Topic that alarms and alerts go to."""
        return self.arn("sns", f"{self.settings.name}-alerts")

    @property
    def cluster(self) -> str:
        """ECS cluster."""
        return self.settings.name

    @property
    def run_family(self) -> str:
        """Family of the task definition of runs."""
        return f"{self.settings.name}-run"

    def log_group(self, kind: str) -> str:
        """Return the log group of `dagster` or `runs`."""
        return f"/billing-lake/{self.settings.name}/{kind}"

    def export(self, kind: str) -> str:
        """Return the name of an export: `cur2`, `focus`, `legacy`."""
        return f"{self.settings.name}-{kind}"
