"""The company's login before the UI: a load balancer that asks an identity provider who comes, and lets nobody else pass."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from billing_lake_infra.names import Names
from billing_lake_infra.network import Network
from billing_lake_infra.settings import Settings

UI_PORT = 3000
_HTTPS_PORT = 443


def add_login(
    scope: Construct,
    settings: Settings,
    names: Names,
    network: Network,
    service: ecs.FargateService,
    tasks: ec2.SecurityGroup,
) -> None:
    """Add the load balancer; the tasks let in nothing but what comes from it."""
    group = ec2.SecurityGroup(
        scope,
        "LoginGroup",
        vpc=network.vpc,
        description="Billing Lake: login",
        allow_all_outbound=False,
    )
    for cidr in settings.ui_cidrs:
        group.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(_HTTPS_PORT), "people")
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(_HTTPS_PORT), "identity provider")
    group.add_egress_rule(tasks, ec2.Port.tcp(UI_PORT), "UI")
    tasks.add_ingress_rule(group, ec2.Port.tcp(UI_PORT), "login")
    balancer = elb.ApplicationLoadBalancer(
        scope,
        "Login",
        vpc=network.vpc,
        vpc_subnets=network.ui_subnets,
        internet_facing=True,
        security_group=group,
        drop_invalid_header_fields=True,
        deletion_protection=False,
    )
    for key, value in (
        ("access_logs.s3.enabled", "true"),
        ("access_logs.s3.bucket", names.bucket("logs")),
        ("access_logs.s3.prefix", "ui"),
    ):
        balancer.set_attribute(key, value)
    targets = elb.ApplicationTargetGroup(
        scope,
        "Ui",
        vpc=network.vpc,
        port=UI_PORT,
        protocol=elb.ApplicationProtocol.HTTP,
        target_type=elb.TargetType.IP,
        health_check=elb.HealthCheck(path="/server_info"),
        deregistration_delay=cdk.Duration.seconds(30),
    )
    targets.add_target(
        service.load_balancer_target(container_name="webserver", container_port=UI_PORT)
    )
    elb.ApplicationListener(
        scope,
        "Https",
        load_balancer=balancer,
        port=_HTTPS_PORT,
        open=False,
        protocol=elb.ApplicationProtocol.HTTPS,
        ssl_policy=elb.SslPolicy.TLS13_RES,
        certificates=[
            elb.ListenerCertificate.from_certificate_manager(
                acm.Certificate.from_certificate_arn(scope, "Certificate", settings.ui_certificate)
            )
        ],
        default_action=elb.ListenerAction.authenticate_oidc(
            issuer=settings.oidc_issuer,
            authorization_endpoint=settings.oidc_authorization,
            token_endpoint=settings.oidc_token,
            user_info_endpoint=settings.oidc_user_info,
            client_id=settings.oidc_client,
            client_secret=cdk.SecretValue.secrets_manager(settings.oidc_secret),
            next=elb.ListenerAction.forward([targets]),
        ),
    )
    cdk.CfnOutput(scope, "UiAddress", value=f"https://{settings.ui_domain}")
    cdk.CfnOutput(scope, "UiAlias", value=balancer.load_balancer_dns_name)
