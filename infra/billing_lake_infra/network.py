"""The network: two zones, subnets for tasks and for the database, a free way to S3; or subnets that exist already."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from billing_lake_infra.names import Names
from billing_lake_infra.settings import Settings

_CIDR_MASK = 24


class Network:
    """A network, and which of its subnets are for what.

    Attributes:
        vpc: The network.
        task_subnets: Where tasks run.
        database_subnets: Where the database is; nothing there has a way out.
        ui_subnets: Where a load balancer is.
        public_ip: Whether tasks get an address to go out with.
    """

    def __init__(self, scope: Construct, settings: Settings, names: Names) -> None:
        self.public_ip = settings.public_ip
        if settings.vpc:
            self.vpc = ec2.Vpc.from_vpc_attributes(
                scope, "Vpc", vpc_id=settings.vpc, availability_zones=[*settings.vpc_zones]
            )
            self.task_subnets = _chosen(scope, "Task", settings.vpc_task_subnets)
            self.database_subnets = _chosen(scope, "Database", settings.vpc_database_subnets)
            self.ui_subnets = _chosen(scope, "Ui", settings.vpc_ui_subnets)
            return
        kinds = [("public", ec2.SubnetType.PUBLIC), ("database", ec2.SubnetType.PRIVATE_ISOLATED)]
        if not settings.public_ip:
            kinds.insert(1, ("task", ec2.SubnetType.PRIVATE_WITH_EGRESS))
        vpc = ec2.Vpc(
            scope,
            "Vpc",
            vpc_name=settings.name,
            # With an account and a region the CDK would ask AWS for its zones, and synthesis has to work offline.
            availability_zones=[cdk.Fn.select(number, cdk.Fn.get_azs()) for number in (0, 1)],
            nat_gateways=0 if settings.public_ip else 1,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name=name,
                    subnet_type=kind,
                    cidr_mask=_CIDR_MASK,
                    map_public_ip_on_launch=False if kind == ec2.SubnetType.PUBLIC else None,
                )
                for name, kind in kinds
            ],
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
        )
        ec2.CfnFlowLog(
            scope,
            "Refused",
            resource_id=vpc.vpc_id,
            resource_type="VPC",
            traffic_type="REJECT",
            log_destination_type="s3",
            log_destination=names.bucket_arn("logs", "/network/"),
        )
        self.vpc = vpc
        tasks = "public" if settings.public_ip else "task"
        self.task_subnets = ec2.SubnetSelection(subnet_group_name=tasks)
        self.database_subnets = ec2.SubnetSelection(subnet_group_name="database")
        self.ui_subnets = ec2.SubnetSelection(subnet_group_name="public")


def _chosen(scope: Construct, kind: str, subnets: tuple[str, ...]) -> ec2.SubnetSelection:
    return ec2.SubnetSelection(
        subnets=[
            ec2.Subnet.from_subnet_id(scope, f"{kind}Subnet{number}", subnet)
            for number, subnet in enumerate(subnets, start=1)
        ]
    )
