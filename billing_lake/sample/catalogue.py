"""Lists what the sample organisation buys, where, and from which accounts: plain data.

Prices are list prices of us-east-1 in round figures; other regions cost a percentage of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PAYER = "004512345678"
ACCOUNTS = (
    "004512345678",
    "000123456789",
    "012345678901",
    "108234567812",
    "210987654321",
    "345678901234",
    "456789012345",
    "567890123456",
    "678901234567",
    "789012345678",
    "890123456789",
    "901234567890",
)
ACCOUNT_WEIGHTS = (2, 30, 22, 16, 12, 9, 7, 5, 4, 3, 2, 1)

CORRECTED_SERVICE = "AmazonS3"
"""The service whose prices a restatement corrects. No commitment covers it, so nothing else moves."""


@dataclass(frozen=True)
class Region:
    """A region: its code, the prefix of its usage types, its name, its price level and its zones."""

    code: str
    prefix: str
    location: str
    percent: int
    zones: str
    weight: int


REGIONS = (
    Region("us-east-1", "", "US East (N. Virginia)", 100, "abcdf", 50),
    Region("eu-central-1", "EUC1-", "EU (Frankfurt)", 115, "abc", 25),
    Region("eu-west-1", "EU-", "EU (Ireland)", 110, "abc", 12),
    Region("ap-northeast-1", "APN1-", "Asia Pacific (Tokyo)", 125, "acd", 8),
    Region("sa-east-1", "SAE1-", "South America (São Paulo)", 160, "abc", 5),
)


@dataclass(frozen=True)
class AmountRange:
    """States how much of an offer one hour uses: mantissas of `low` to `high` + 1 digits at a decimal scale."""

    scale: int
    low: int
    high: int


HOURS = AmountRange(10, 8, 9)
REQUESTS = AmountRange(0, 0, 5)
GIGABYTES = AmountRange(16, 7, 16)
STORAGE = AmountRange(16, 10, 16)
SECONDS = AmountRange(6, 3, 9)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One thing that can be bought: a usage type of a service, with what a report says of it."""

    code: str
    service: str
    family: str
    usage_type: str
    operation: str
    unit: str
    rate: str
    description: str
    amounts: AmountRange
    weight: int
    resource: str = ""
    zonal: bool = False
    factor: int = 0
    product: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _instance(size: str, vcpu: int, memory: str, **more: str) -> Mapping[str, str]:
    family = size.removeprefix("db.").partition(".")[0]
    return {"instanceType": size, "instanceTypeFamily": family, "memory": memory, "vcpu": str(vcpu), **more}  # fmt: skip


def _ec2(size: str, rate: str, vcpu: int, memory: str, factor: int, weight: int) -> Offer:
    return Offer(
        code="AmazonEC2", service="Amazon Elastic Compute Cloud", family="Compute Instance",
        usage_type=f"BoxUsage:{size}", operation="RunInstances", unit="Hrs", rate=rate,
        description=f"${{rate}} per On Demand Linux {size} Instance Hour", amounts=HOURS, weight=weight,
        resource="i-0{hex}", zonal=True, factor=factor,
        product=_instance(size, vcpu, memory, operatingSystem="Linux", tenancy="Shared"),
    )  # fmt: skip


def _rds(size: str, rate: str, vcpu: int, memory: str, factor: int, weight: int) -> Offer:
    return Offer(
        code="AmazonRDS", service="Amazon Relational Database Service", family="Database Instance",
        usage_type=f"InstanceUsage:{size}", operation="CreateDBInstance:0014", unit="Hrs", rate=rate,
        description=f"${{rate}} per RDS {size} Single-AZ instance hour (or partial hour) running PostgreSQL",
        amounts=HOURS, weight=weight, resource="arn:aws:rds:{region}:{account}:db:orders-{number}", factor=factor,
        product=_instance(size, vcpu, memory, databaseEngine="PostgreSQL"),
    )  # fmt: skip


_s3 = partial(
    Offer, code="AmazonS3", service="Amazon Simple Storage Service", resource="{team}-data-{number}"
)
_lambda = partial(
    Offer, code="AWSLambda", service="AWS Lambda", family="Serverless", operation="Invoke",
    resource="arn:aws:lambda:{region}:{account}:function:{team}-handler-{number}",
)  # fmt: skip

OFFERS = (
    _ec2("t3.large", "0.0832", 2, "8 GiB", 4, 12),
    _ec2("m5.large", "0.096", 2, "8 GiB", 4, 14),
    _ec2("m5.xlarge", "0.192", 4, "16 GiB", 8, 8),
    _ec2("c5.2xlarge", "0.34", 8, "16 GiB", 16, 5),
    _ec2("r5.4xlarge", "1.008", 16, "128 GiB", 32, 2),
    _rds("db.t3.large", "0.145", 2, "8 GiB", 4, 6),
    _rds("db.r5.xlarge", "0.5", 4, "32 GiB", 8, 3),
    _s3(
        family="Storage", usage_type="TimedStorage-ByteHrs", operation="StandardStorage", unit="GB-Mo", rate="0.023",
        description="${rate} per GB - first 50 TB / month of storage used", amounts=STORAGE, weight=24,
        product={"storageClass": "General Purpose", "volumeType": "Standard"},
    ),
    _s3(
        family="API Request", usage_type="Requests-Tier1", operation="PutObject", unit="Requests", rate="0.000005",
        description="${rate} per PUT, COPY, POST, or LIST requests", amounts=REQUESTS, weight=22,
        product={"group": "S3-API-Tier1"},
    ),
    _s3(
        family="API Request", usage_type="Requests-Tier2", operation="GetObject", unit="Requests", rate="0.0000004",
        description="${rate} per GET and all other requests", amounts=REQUESTS, weight=30,
        product={"group": "S3-API-Tier2"},
    ),
    _lambda(
        usage_type="Lambda-GB-Second", unit="Lambda-GB-Second", rate="0.0000166667", amounts=SECONDS, weight=18,
        description="AWS Lambda - Total Compute - {location}", product={"group": "AWS-Lambda-Duration"},
    ),
    _lambda(
        usage_type="Request", unit="Lambda Requests", rate="0.0000002", amounts=REQUESTS, weight=14,
        description="AWS Lambda - Requests - {location}", product={"group": "AWS-Lambda-Requests"},
    ),
    Offer(
        code="AmazonEC2", service="Amazon Elastic Compute Cloud", family="Storage",
        usage_type="EBS:VolumeUsage.gp3", operation="CreateVolume-Gp3", unit="GB-Mo", rate="0.08",
        description='${rate} per GB-month of General Purpose (gp3) "provisioned" storage - {location}',
        amounts=STORAGE, weight=20, resource="vol-0{hex}", product={"volumeType": "General Purpose"},
    ),
    Offer(
        code="AmazonEC2", service="Amazon Elastic Compute Cloud", family="NAT Gateway",
        usage_type="NatGateway-Bytes", operation="NatGateway", unit="GB", rate="0.045",
        description="${rate} per GB Data Processed by NAT Gateways", amounts=GIGABYTES, weight=9,
        resource="arn:aws:ec2:{region}:{account}:natgateway/nat-0{hex}", product={"group": "NGW:NatGateway"},
    ),
    Offer(
        code="AmazonEC2", service="AWS Data Transfer", family="Data Transfer",
        usage_type="DataTransfer-Out-Bytes", operation="RunInstances", unit="GB", rate="0.09",
        description="${rate} per GB - first 10 TB / month data transfer out, beyond the global free tier",
        amounts=GIGABYTES, weight=20, resource="i-0{hex}",
        product={"fromLocation": "{location}", "toLocation": "External", "transferType": "AWS Outbound"},
    ),
    Offer(
        code="AmazonEC2", service="AWS Data Transfer", family="Data Transfer",
        usage_type="DataTransfer-Regional-Bytes", operation="InterZone-Out", unit="GB", rate="0.01",
        description="${rate} per GB - regional data transfer - in/out/between EC2 AZs, or using elastic IPs or ELB",
        amounts=GIGABYTES, weight=16, resource="i-0{hex}", product={"transferType": "IntraRegion"},
    ),
    Offer(
        code="AmazonDynamoDB", service="Amazon DynamoDB", family="Amazon DynamoDB PayPerRequest Throughput",
        usage_type="ReadRequestUnits", operation="PayPerRequestThroughput", unit="ReadRequestUnits",
        rate="0.00000025", description="${rate} per read request unit ({location})", amounts=REQUESTS, weight=12,
        resource="arn:aws:dynamodb:{region}:{account}:table/{team}-{number}", product={"group": "DDB-ReadUnits"},
    ),
    Offer(
        code="AmazonCloudWatch", service="AmazonCloudWatch", family="Data Payload",
        usage_type="DataProcessing-Bytes", operation="PutLogEvents", unit="GB", rate="0.5",
        description="${rate} per GB custom log data ingested in Standard log class - {location}", amounts=GIGABYTES,
        weight=12, resource="arn:aws:logs:{region}:{account}:log-group:/aws/lambda/{team}-{number}",
    ),
    Offer(
        code="AWSQueueService", service="Amazon Simple Queue Service", family="API Request",
        usage_type="Requests-RBP", operation="SendMessage", unit="Requests", rate="0.0000004",
        description="${rate} per Amazon SQS Request, beyond the first 1,000,000 each month", amounts=REQUESTS,
        weight=10, resource="arn:aws:sqs:{region}:{account}:{team}-{number}",
    ),
    Offer(
        code="awskms", service="AWS Key Management Service", family="API Request",
        usage_type="KMS-Requests", operation="Decrypt", unit="Requests", rate="0.000003",
        description="${rate} per KMS request - {location}", amounts=REQUESTS, weight=8,
        resource="arn:aws:kms:{region}:{account}:key/{hex}",
    ),
)  # fmt: skip

TEAMS = ("shop", "search", "payments", "data", "platform")
OWNERS = ("Jürgen Müller", "山田太郎", "O'Brien, Kate", "María José Núñez", 'Anna "Ann" Schmidt')
ENVIRONMENTS = ("prod", "staging", "dev", "test")
COST_CENTERS = ("CC-1001", "CC-1002", "cc-1003", "0042", "CC 2000, shared")
NAMES = ("web", "batch", "api", 'the "blue" one', "nightly\nexport", "Größenwahn, GmbH", "cache")
EXTRA_VALUES = ("apollo", "borealis", "cygnus", "Ægir", "delta, west")
