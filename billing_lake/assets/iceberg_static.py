"""The asset `iceberg_static`: given report files, from before the export existed, as a table of their own."""

from collections.abc import Iterator, Sequence
from typing import cast

import dagster as dg
from pydantic import Field

from billing_lake.assets import markdown
from billing_lake.assets.export import ENGINE_POOL, DagsterExport
from billing_lake.assets.metadata import column_schema, cost_metadata
from billing_lake.assets.periods import named_failures
from billing_lake.assets.progress import progress
from billing_lake.deployments import Lake
from billing_lake.domain.profiles import merge
from billing_lake.loads.static_files import STATIC, load_static_files


class StaticFiles(dg.Config):
    """Run config of `iceberg_static`."""

    files: list[str] = Field(
        default=[],
        description=(
            "Keys of the report files (.csv.gz) in the landing storage, for example `archive/2023-11-00001.csv.gz`. "
            "The table holds the rows of exactly these files afterwards. With none the asset is skipped."
        ),
    )


def build_iceberg_static(export: DagsterExport, default: Sequence[str]) -> dg.AssetsDefinition:
    """Build the asset for ``export``.

    Args:
        export: The export.
        default: Files that are loaded where the run config names none.
    """

    @dg.asset(
        key=export.key(STATIC),
        # Without partitions it would keep the whole group from being loaded for a range of them.
        group_name=f"{export.name}_static",
        kinds={"iceberg"},
        pool=ENGINE_POOL,
        tags=export.tags,
        dagster_type=cast("dg.DagsterType", dg.Nothing),
        output_required=False,
        owners=list(export.owners) or None,
        description=(
            "Given report files, for example an archive from before the export existed, as an Iceberg table of their own "
            "that is overwritten each time. Run config: the list of files."
            + (f" Without one: {', '.join(default)}." if default else "")
        ),
    )
    def iceberg_static(
        context: dg.AssetExecutionContext,
        config: _config_class(default),  # type: ignore[valid-type]
        billing_lake: dg.ResourceParam[Lake],
    ) -> Iterator[dg.Output[None]]:
        if not config.files:
            context.log.warning(
                "Skipped: no file is named. Name some in the run config (`files`), or as `static_files` of the export"
            )
            return
        log = progress(context)
        with named_failures():
            done = load_static_files(
                billing_lake,
                export,
                billing_lake.engine(log, context),
                config.files,
                run_id=context.run.run_id,
                log=log,
            )
        whole = merge(crawl.profile for crawl in done.crawls.values())
        context.add_output_metadata(
            {
                "dagster/column_schema": column_schema(done.table.fields() or (), export.format),
                "dagster/table_name": done.table.full_name,
                "dagster/row_count": whole.rows,
                "dagster/uri": done.table.uri,
                **cost_metadata(whole, export.format),
                "billing_periods": markdown.table(
                    ("billing period", "files", "rows", "rows before"),
                    (
                        (
                            period,
                            len(done.crawls[period].delivery.files),
                            one.commit.rows,
                            one.commit.replaced_rows,
                        )
                        for period, one in done.loaded.items()
                    ),
                ),
            }
        )
        yield dg.Output(None)

    return iceberg_static


def _config_class(default: Sequence[str]) -> type[StaticFiles]:
    if not default:
        return StaticFiles
    chosen = list(default)

    class StaticFilesOfExport(StaticFiles):
        """Run config of `iceberg_static`, with the export's own files unless told otherwise."""

        files: list[str] = Field(
            default=chosen, description=StaticFiles.model_fields["files"].description
        )

    return StaticFilesOfExport
