"""`billing-lake alerts test`, and the policies of a folder of exports as the code location loads them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from billing_lake.cli import main
from billing_lake.definitions import defs
from billing_lake.deployments import HOME_SETTING
from billing_lake.landing.export_yaml import DEFS_SETTING
from billing_lake_tests.alerts.services import Webhook

pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

EXPORT = "type: billing_lake.components.BillingExport\nattributes: {name: acme, layout: loose}\n"
POLICY = """
type: billing_lake.components.AlertPolicy
attributes:
  name: finance
  notifiers:
    - {kind: apprise, name: hook, url_from: ALERTS_HOOK, style: text}
    - {kind: apprise, name: gone, url_from: ALERTS_NOWHERE}
    - {kind: log}
  quiet_hours: {begin: "00:00", end: "23:59"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export and a policy."""
    made = tmp_path / "exports"
    for name, text in (("acme", EXPORT), ("finance", POLICY)):
        (made / name).mkdir(parents=True)
        (made / name / "defs.yaml").write_text(text)
    monkeypatch.setenv(DEFS_SETTING, str(made))
    monkeypatch.setenv(HOME_SETTING, str(tmp_path / "lake"))
    return made


def sensors() -> dict[str, str]:
    """Return the sensors of the code location, and what they say of themselves."""
    found = defs().get_repository_def().sensor_defs
    return {one.name: one.description or "" for one in found}


def test_a_sample_goes_through_each_notifier_and_each_result_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERTS_NOWHERE", raising=False)
    with Webhook() as webhook:
        monkeypatch.setenv("ALERTS_HOOK", webhook.url)
        result = CliRunner().invoke(main, ["alerts", "test"])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "finance: hook: sent"
    assert (
        "finance: gone: FAILED. The environment variable ALERTS_NOWHERE is not set" in result.stdout
    )
    assert result.stdout.splitlines()[-1] == "finance: log: sent"
    (taken,) = webhook.taken
    assert "This is a test of billing-lake alerts" in taken["message"]


def test_a_policy_is_one_sensor_that_names_what_it_watches(folder: Path) -> None:
    assert "of acme, all_costs to hook, gone, log" in sensors()["finance_alerts"]


def test_a_bill_that_is_counted_twice_is_reported_by_a_policy_that_watches_everything(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = "{name: finance, notifiers: [{kind: apprise, url_from: ALERTS_HOOK}]%s}"
    place = folder / "finance" / "defs.yaml"
    for named, told in (("", True), (", exports: [acme]", False), (", exports: [all_costs]", True)):
        attributes = policy % named
        (tmp_path / f"dagster{len(named)}").mkdir()
        place.write_text(f"type: billing_lake.components.AlertPolicy\nattributes: {attributes}\n")
        sensor = defs().get_repository_def().get_sensor_def("finance_alerts")
        with (
            dg.DagsterInstance.local_temp(str(tmp_path / f"dagster{len(named)}")) as instance,
            Webhook() as webhook,
        ):
            monkeypatch.setenv("ALERTS_HOOK", webhook.url)
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(["all_costs"]),
                    check_name="counted_once",
                    passed=False,
                    metadata={},
                    severity=dg.AssetCheckSeverity.WARN,
                )
            )
            sensor(dg.build_sensor_context(instance))
        titles = [one["title"] for one in webhook.taken]
        assert titles == ["[WARN] all_costs: check counted_once warns"] * told


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{name: finance, notifiers: [{kind: log}], exports: [acne]}", "names acne"),
        ("{name: finance, notifiers: []}", "at least one notifier"),
        ("{name: finance, notifiers: [{kind: apprise}]}", "needs `url_from`"),
        ("{name: finance, notifiers: [{kind: sns, topic: billing}]}", "the ARN of a topic"),
        ('{name: finance, notifiers: [{kind: log}], digest: {at: "8"}}', "'8' is no time of day"),
        ("{name: finance, notifiers: [{kind: log}], timezone: Berlin}", "no zone"),
        ("{name: finance, notifiers: [{kind: log}], export: acme}", "Write `exports`"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong_and_leaves_the_exports_alone(
    folder: Path, wrong: str, said: str
) -> None:
    (folder / "finance" / "defs.yaml").write_text(
        f"type: billing_lake.components.AlertPolicy\nattributes: {wrong}\n"
    )
    found = sensors()
    assert "acme_new_reports" in found
    (text,) = (text for name, text in found.items() if name.endswith("_not_loaded"))
    assert said in text
