"""What somebody has to be told: a task that stopped with an error, no Dagster, no run for two days, a database that fills up."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_rds as rds
from aws_cdk import aws_sns as sns
from constructs import Construct

from billing_lake_infra.names import Names
from billing_lake_infra.settings import Settings

_MINUTES_WITHOUT_DAGSTER = 15
_HOURS_WITHOUT_RUN = 48
_FREE_STORAGE_BYTES = 2_000_000_000
_CONNECTIONS = 60
"""Of the 80 to 100 that the smallest database has."""


def add_alarms(
    scope: Construct, settings: Settings, names: Names, database: rds.DatabaseInstance
) -> None:
    """Add the alarms, which go to the topic of the lake."""
    topic = sns.Topic.from_topic_arn(scope, "Alerts", names.topic_arn)
    _stopped_tasks(scope, names, topic)
    period = cdk.Duration.minutes(5)
    service = {"ClusterName": names.cluster, "ServiceName": f"{settings.name}-dagster"}
    _alarm(
        scope,
        topic,
        "NoDagster",
        f"Dagster of {settings.name} has not run for {_MINUTES_WITHOUT_DAGSTER} minutes",
        cloudwatch.Metric(
            namespace="AWS/ECS",
            metric_name="CPUUtilization",
            dimensions_map=service,
            statistic="SampleCount",
            period=period,
        ),
        below=1,
        periods=_MINUTES_WITHOUT_DAGSTER // 5,
        silent_is_bad=True,
    )
    _alarm(
        scope,
        topic,
        "NoRun",
        f"No run of {settings.name} has written a log for {_HOURS_WITHOUT_RUN} hours: exports are delivered at least once a day",
        cloudwatch.Metric(
            namespace="AWS/Logs",
            metric_name="IncomingLogEvents",
            dimensions_map={"LogGroupName": names.log_group("runs")},
            statistic="Sum",
            period=cdk.Duration.hours(1),
        ),
        below=1,
        periods=_HOURS_WITHOUT_RUN,
        silent_is_bad=True,
    )
    _alarm(
        scope,
        topic,
        "DatabaseStorage",
        f"The database of {settings.name} has less than 2 GB left",
        database.metric_free_storage_space(period=period),
        below=_FREE_STORAGE_BYTES,
        periods=3,
    )
    _alarm(
        scope,
        topic,
        "DatabaseConnections",
        f"The database of {settings.name} has more than {_CONNECTIONS} connections",
        database.metric_database_connections(period=period),
        above=_CONNECTIONS,
        periods=3,
    )


def _stopped_tasks(scope: Construct, names: Names, topic: sns.ITopic) -> None:
    """Tell of tasks that ended with an error, could not start, or were stopped because they did not answer."""
    rule = events.Rule(
        scope,
        "Stopped",
        description=f"A task of Billing Lake {names.settings.name} stopped with an error",
        event_pattern=events.EventPattern(
            source=["aws.ecs"],
            detail_type=["ECS Task State Change"],
            detail={
                "clusterArn": [names.arn("ecs", f"cluster/{names.cluster}")],
                "lastStatus": ["STOPPED"],
                "$or": [
                    # The service stops a task that it replaces; that is no error.
                    {
                        "containers": {"exitCode": [{"anything-but": [0]}]},
                        "stopCode": [{"anything-but": ["ServiceSchedulerInitiated"]}],
                    },
                    {"stopCode": ["TaskFailedToStart"]},
                    {"stoppedReason": [{"wildcard": "*health checks*"}]},
                ],
            },
        ),
    )
    rule.add_target(targets.SnsTopic(topic))


def _alarm(
    scope: Construct,
    topic: sns.ITopic,
    construct_id: str,
    what: str,
    metric: cloudwatch.Metric,
    *,
    periods: int,
    below: float | None = None,
    above: float | None = None,
    silent_is_bad: bool = False,
) -> None:
    comparisons, missing = cloudwatch.ComparisonOperator, cloudwatch.TreatMissingData
    alarm = metric.create_alarm(
        scope,
        construct_id,
        alarm_description=what,
        threshold=below if below is not None else (above or 0),
        comparison_operator=comparisons.LESS_THAN_THRESHOLD
        if below is not None
        else comparisons.GREATER_THAN_THRESHOLD,
        evaluation_periods=periods,
        treat_missing_data=missing.BREACHING if silent_is_bad else missing.MISSING,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    alarm.add_ok_action(actions.SnsAction(topic))
