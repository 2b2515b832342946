"""The settings of a session, and those that the environment brings."""

import re

import pytest

from billing_lake.domain.errors import ConfigurationError
from billing_lake.resources.spark import MASTER, MEMORY, SETTINGS, SparkResource, spark_defaults
from billing_lake.resources.spark_settings import session_settings


def test_a_session_of_this_machine_listens_to_nobody_else() -> None:
    settings = session_settings("local[2]")
    assert settings["spark.driver.host"] == settings["spark.driver.bindAddress"] == "127.0.0.1"
    assert settings["spark.ui.enabled"] == "false"
    assert settings["spark.sql.session.timeZone"] == "UTC"
    assert re.fullmatch(r"([1-9]|1[0-6])g", settings["spark.driver.memory"])


def test_the_workers_of_a_cluster_must_reach_the_driver() -> None:
    settings = session_settings("spark://host:7077", "8g")
    assert not {"spark.driver.host", "spark.driver.bindAddress"} & set(settings)
    assert settings["spark.driver.memory"] == "8g"
    assert settings["spark.master"] == "spark://host:7077"


@pytest.mark.parametrize("memory", ["4", "0g", "lots", "4g -Xss1m"])
def test_a_memory_that_is_no_size_is_refused(memory: str) -> None:
    with pytest.raises(ConfigurationError, match="no size"):
        session_settings(driver_memory=memory)
    with pytest.raises(ConfigurationError, match=f"^{MEMORY}"):
        spark_defaults({MEMORY: memory})


@pytest.mark.parametrize("text", ["spark.a=b", "[1]", '{"spark.hadoop.fs.s3a.secret.key": "hush'])
def test_settings_that_are_no_json_object_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{SETTINGS} is no JSON object") as caught:
        spark_defaults({SETTINGS: text})
    assert text not in str(caught.value)


def test_the_environment_sets_what_a_run_does_not() -> None:
    assert spark_defaults({}) == {}
    fields = spark_defaults(
        {MASTER: "local[3]", MEMORY: "2g", SETTINGS: '{"spark.ui.enabled": true}'}
    )
    settings = SparkResource(**fields).settings()
    assert settings["spark.master"] == "local[3]"
    assert settings["spark.driver.memory"] == "2g"
    assert settings["spark.ui.enabled"] == "true"


def test_settings_may_be_nested_and_win_over_everything() -> None:
    spark = SparkResource(
        master="local[1]",
        driver_memory="1g",
        spark_config={"spark": {"master": "spark://h:7077", "driver": {"memory": "3g"}}},
    )
    settings = spark.settings()
    assert settings["spark.master"] == "spark://h:7077"
    assert settings["spark.driver.memory"] == "3g"
    assert "spark.driver.host" not in settings
