"""Writes the files of `dg scaffold defs billing_lake.components.BillingExport <name>`."""

from __future__ import annotations

import re
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from billing_lake.domain.deliveries import Layout
from billing_lake.formats.registry import DEFAULT_FORMAT, format_named
from billing_lake.landing.export_yaml import FILE, export_yaml


class ScaffoldSettings(BaseModel):
    """Options of the command; what is not given is to be edited in the file."""

    format: str = Field(
        default=DEFAULT_FORMAT.name, description="What the columns of its reports mean."
    )
    layout: Layout = Field(default="create-new", description="How the provider lays out its files.")
    prefix: str = Field(default="", description="Folder below the landing storage's root.")
    report: str = Field(
        default="", description="Name of the report; the export's own if not given."
    )


class BillingExportScaffolder(dg.Scaffolder[ScaffoldSettings]):
    """Writes a `defs.yaml` that can be loaded as it is, named after its folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldSettings]:
        """Return the options."""
        return ScaffoldSettings

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldSettings]) -> None:
        """Write the file."""
        params = request.params
        name = re.sub(r"\W+", "_", request.target_path.name.lower()).strip("_")
        settings: dict[str, Any] = {
            "name": name if name[:1].isalpha() else f"export_{name}",
            "format": format_named(params.format).name,
            "layout": params.layout,
            "prefix": params.prefix,
        }
        if params.layout != "loose":
            settings["report"] = params.report or request.target_path.name
        settings["start"] = "2024-01"
        if request.scaffold_format == "yaml" and not request.append:
            (request.target_path / FILE).write_text(export_yaml(settings), encoding="utf-8")
        else:
            dg.scaffold_component(request, settings)


class AlertPolicyScaffolder(dg.Scaffolder[BaseModel]):
    """Writes a `defs.yaml` that reports everything to the log, named after its folder."""

    def scaffold(self, request: dg.ScaffoldRequest[BaseModel]) -> None:
        """Write the file."""
        name = re.sub(r"\W+", "_", request.target_path.name.lower()).strip("_")
        settings = {
            "name": name if name[:1].isalpha() else f"policy_{name}",
            "notifiers": [{"kind": "log"}],
        }
        dg.scaffold_component(request, settings)
