from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from billing_lake.commands import instance
from billing_lake_tests.commands.conftest import Runner


def test_the_instance_s_folder_is_printed_and_has_the_settings(tmp_path: Path) -> None:
    result = Runner(tmp_path / "lake")("dagster-home")
    assert result.stdout == f"{tmp_path / 'lake' / 'dagster'}\n"
    settings = yaml.safe_load((tmp_path / "lake" / "dagster" / "dagster.yaml").read_text())
    assert settings["telemetry"] == {"enabled": False}


def test_settings_that_somebody_changed_stay_and_others_follow_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = instance.prepare_instance(tmp_path)
    settings = folder / "dagster.yaml"
    release = tmp_path / "release" / "dagster.yaml"
    release.parent.mkdir()
    release.write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setattr(instance, "__file__", str(release.with_name("instance.py")))
    instance.prepare_instance(tmp_path)
    assert settings.read_bytes() == release.read_bytes()
    settings.write_text("storage: mine\n")
    instance.prepare_instance(tmp_path)
    assert settings.read_text() == "storage: mine\n"
    release.write_text("telemetry: {}\n")
    instance.prepare_instance(tmp_path)
    assert settings.read_text() == "storage: mine\n"
