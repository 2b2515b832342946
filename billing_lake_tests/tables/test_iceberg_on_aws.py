"""Iceberg tables in the Glue Data Catalog and in an S3 Tables bucket: what differs from a folder of this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from moto.sts.models import AssumedRole
from pyiceberg.catalog.glue import GlueCatalog

from billing_lake.aws.clients import AwsClients
from billing_lake.domain.errors import (
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    DeliveryChangedError,
    LoadError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.tables.aws_catalogs import glue_catalog_properties, s3_tables_properties
from billing_lake.tables.base import CleanUp
from billing_lake.tables.iceberg import IcebergTables
from billing_lake_tests.files.recording import failing, recorded
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.making import (
    APRIL,
    FIELDS,
    MARCH,
    TABLE,
    changed,
    count,
    emptied,
    encode,
    files_in_s3,
    glue,
    load,
    s3_tables,
    versions,
)


@pytest.fixture(params=["glue", "s3_tables"])
def tables(request: pytest.FixtureRequest, aws: Aws, aws_environment: object) -> IcebergTables:
    """Iceberg tables of each kind, with an empty one."""
    made = emptied({"glue": glue, "s3_tables": s3_tables}[request.param](aws))
    assert made.create(TABLE, FIELDS)
    return made


@pytest.fixture
def in_glue(aws: Aws, aws_environment: object) -> IcebergTables:
    made = emptied(glue(aws))
    assert made.create(TABLE, FIELDS)
    return made


@pytest.fixture
def in_s3_tables(aws: Aws, aws_environment: object) -> IcebergTables:
    made = emptied(s3_tables(aws))
    assert made.create(TABLE, FIELDS)
    return made


@pytest.fixture
def staged(aws: Aws, aws_environment: object, tmp_path: Path) -> Callable[..., Encoded]:
    """Encode files, and put them where an engine on AWS leaves them."""
    folder = f"s3://{aws.new_bucket()}/staging"

    def encode_there(key: PeriodKey = MARCH, rows: tuple[int, ...] = (2,), **given: Any) -> Encoded:
        encoded = encode(tmp_path / "staging", key, rows, **given)
        moved = []
        for file in encoded.files:
            uri = f"{folder}/{Path(file.uri).name}"
            files_in_s3().send(file.uri, uri)
            moved.append(replace(file, uri=uri))
        return replace(encoded, files=tuple(moved))

    return encode_there


def data_of(tables: IcebergTables) -> set[str]:
    """Data files that lie below the table, whether it refers to them or not."""
    return {file.uri for file in files_in_s3().list(f"{tables.uri(TABLE)}/data")}


def test_a_table_on_aws_is_made_as_every_engine_can_read_it(tables: IcebergTables) -> None:
    table = tables.open(TABLE)
    assert table.metadata.format_version == 2
    assert [f.name for f in table.spec().fields] == ["export_name", "billing_period"]
    mapped = {(f.field_id, *f.names) for f in table.name_mapping() or ()}
    assert mapped == {(f.field_id, f.name) for f in FIELDS}
    assert tables.uri(TABLE).startswith("s3://")


def test_a_load_names_its_files_in_s3_and_readers_of_iceberg_see_its_rows(
    tables: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    load(tables, staged(rows=(2, 0, 3)))
    commit = load(tables, staged(rows=(1, 1), version="v2"))
    load(tables, staged(APRIL, (4,)), APRIL)
    assert (commit.rows, commit.files, commit.replaced_rows) == (2, 2, 5)
    found = tables.files(TABLE, MARCH)
    assert all(f.uri.startswith(f"{tables.uri(TABLE)}/data/cur/2025-03/") for f in found.files)
    assert (count(found), versions(found)) == (2, {"v2"})
    rows = tables.open(TABLE).scan(selected_fields=("billing_period",)).to_arrow()
    assert sorted(rows["billing_period"].to_pylist()) == ["2025-03"] * 2 + ["2025-04"] * 4


def test_s3_copies_files_into_a_table_in_glue_by_itself(
    in_glue: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    encoded = staged(rows=(2, 3))
    with recorded(files_in_s3().clients.client("s3")) as asked:
        load(in_glue, encoded)
    assert asked.count("CopyObject") == 2
    # What else is asked for is the footers: a head and a few bytes for each file, and a head for each copy.
    assert {one.split()[0] for one in asked} == {"CopyObject", "HeadObject", "GetObject"}
    assert len(asked) == 2 * (1 + 2 + 1)


def test_files_are_streamed_into_a_table_bucket_which_copies_and_lists_nothing(
    in_s3_tables: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    encoded = staged(rows=(2, 3))
    with recorded(files_in_s3().clients.client("s3")) as asked:
        load(in_s3_tables, encoded)
    assert asked.count("PutObject") == 2
    assert {one.split()[0] for one in asked} == {"PutObject", "HeadObject", "GetObject"}
    assert count(in_s3_tables.files(TABLE, MARCH)) == 5


def test_the_log_tells_how_files_arrive(
    in_s3_tables: IcebergTables, staged: Callable[..., Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.tables.data_files._LOG_EVERY_BYTES", 1)
    monkeypatch.setattr("billing_lake.tables.data_files._LOG_TOTAL_FROM_SECONDS", 0.0)
    encoded = staged(rows=(2, 3))
    lines: list[str] = []
    in_s3_tables.replace_period(
        TABLE, MARCH, encoded, properties={}, verify=lambda: None, log=lines.append
    )
    total = encoded.size / 1e6
    assert lines[0].startswith("billing.cur: placing file 1 of 2, ")
    assert lines[1] == f"billing.cur: placing file 2 of 2, {total:,.1f} of {total:,.1f} MB"
    assert lines[2].startswith("billing.cur: placed 2 files, ")


@pytest.mark.parametrize("operation", ["CopyObject", "PutObject"])
def test_s3_that_refuses_the_files_leaves_the_table_untouched(
    aws: Aws, aws_environment: object, staged: Callable[..., Encoded], operation: str
) -> None:
    tables = emptied(glue(aws) if operation == "CopyObject" else s3_tables(aws))
    tables.create(TABLE, FIELDS)
    load(tables, staged(rows=(3,)))
    before, encoded = data_of(tables), staged(rows=(1,))
    told = {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
    with (
        failing(files_in_s3().clients.client("s3"), operation, ClientError(told, operation)),
        pytest.raises(StorageWriteError, match=f"refuses a write: {operation}: AccessDenied"),
    ):
        load(tables, encoded)
    assert data_of(tables) == before
    assert count(tables.files(TABLE, MARCH)) == 3


def test_a_changed_delivery_leaves_the_table_on_aws_and_its_folder_untouched(
    tables: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    load(tables, staged())
    before = data_of(tables)
    with pytest.raises(DeliveryChangedError):
        load(tables, staged(rows=(9,)), verify=changed)
    assert data_of(tables) == before
    assert count(tables.files(TABLE, MARCH)) == 2


@pytest.mark.parametrize("damage", ["gone", "fewer rows"])
def test_a_staged_file_that_is_gone_or_other_than_stated_is_refused(
    in_glue: IcebergTables, staged: Callable[..., Encoded], damage: str
) -> None:
    encoded = staged()
    if damage == "gone":
        files_in_s3().remove(encoded.files[0].uri)
    else:
        encoded = replace(encoded, files=(replace(encoded.files[0], rows=3),))
    with pytest.raises(LoadError, match="encoded file"):
        load(in_glue, encoded)
    assert data_of(in_glue) == set()


def test_a_commit_to_glue_that_fails_on_its_own_success_is_recognised(
    in_glue: IcebergTables, staged: Callable[..., Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 sends a request again when its answer was lost; the second one finds the version moved, by the first."""
    load(in_glue, staged(rows=(3,)))
    table = in_glue.open(TABLE)
    with table.transaction() as transaction:
        # pyiceberg finds such a commit by itself, but after its last attempt it deletes the snapshot's manifests.
        transaction.set_properties({"commit.retry.num-retries": "0"})
    catalog = in_glue._catalog()
    assert isinstance(catalog, GlueCatalog)
    update = catalog.glue.update_table

    def update_twice(**given: Any) -> Any:
        update(**given)
        return update(**given)

    with monkeypatch.context() as patched:
        patched.setattr(catalog.glue, "update_table", update_twice)
        commit = load(in_glue, staged(rows=(1,), version="v2"))
    assert (commit.rows, commit.replaced_rows, commit.replaced_version) == (1, 3, "v1")
    assert versions(in_glue.files(TABLE, MARCH)) == {"v2"}
    assert len(in_glue.open(TABLE).metadata.snapshots) == 2
    assert load(in_glue, staged(rows=(5,), version="v3")).replaced_rows == 1


def commits_and_loses(answer: int | None) -> Callable[..., Any]:
    """A session's `request` that commits, and then has lost the answer or got another one."""
    request = requests.Session.request

    def lossy(self: requests.Session, method: str, url: str, **given: Any) -> Any:
        got = request(self, method, url, **given)
        if method == "POST" and "/tables/" in url:
            if answer is None:
                raise requests.ReadTimeout("Read timed out.")
            got.status_code, got._content = answer, b""
        return got

    return lossy


@pytest.mark.parametrize("answer", [None, 500, 504])
def test_a_commit_to_s3_tables_whose_answer_was_lost_is_recognised(
    in_s3_tables: IcebergTables,
    staged: Callable[..., Encoded],
    monkeypatch: pytest.MonkeyPatch,
    answer: int | None,
) -> None:
    load(in_s3_tables, staged(rows=(3,)))
    with monkeypatch.context() as patched:
        session: Any = in_s3_tables._catalog()._session  # type: ignore[attr-defined]
        lossy = commits_and_loses(answer)
        patched.setattr(session, "request", lambda *a, **k: lossy(session, *a, **k))
        commit = load(in_s3_tables, staged(rows=(1,), version="v2"))
    assert (commit.replaced_rows, commit.replaced_version) == (3, "v1")
    assert versions(in_s3_tables.files(TABLE, MARCH)) == {"v2"}


def test_a_commit_that_nobody_answered_for_is_looked_for_and_then_in_doubt(
    in_s3_tables: IcebergTables, staged: Callable[..., Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = staged()
    session: Any = in_s3_tables._catalog()._session  # type: ignore[attr-defined]
    request, looks = session.request, []

    def no_answer(method: str, url: str, **given: Any) -> Any:
        if method == "POST" and "/tables/" in url:
            raise requests.ReadTimeout("Read timed out.")
        looks.append(method)
        return request(method, url, **given)

    with monkeypatch.context() as patched:
        patched.setattr("billing_lake.tables.iceberg_commits._PAUSES_SECONDS", (0.0, 0.0))
        patched.setattr(session, "request", no_answer)
        with pytest.raises(CommitUnknownError, match=r"not known whether.*Read timed out"):
            load(in_s3_tables, encoded)
    # Opened, looked at before the commit, and three times after it.
    assert looks.count("GET") == 5
    # A catalog may still finish: its files stay, and the next load replaces whatever came of it.
    assert len(data_of(in_s3_tables)) == 1
    assert load(in_s3_tables, staged(version="v2")).replaced_rows == 0


def test_a_profile_that_takes_a_role_is_enough_for_a_table_and_its_files(
    aws: Aws,
    tables: IcebergTables,
    staged: Callable[..., Encoded],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load(tables, staged(rows=(3,)))
    profiles = tmp_path / "config"
    role = f"arn:aws:iam::{aws.account}:role/finance"
    profiles.write_text(
        f"[profile finance]\nrole_arn = {role}\nsource_profile = person\n"
        "[profile person]\naws_access_key_id = person\naws_secret_access_key = persons\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "finance")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    make = AssumedRole.__init__

    def made(role: AssumedRole, *given: Any, **named: Any) -> None:
        # S3 knows no keys but those that it was started with, so the role's are of them.
        make(role, *given, **named)
        role.access_key_id, role.secret_access_key, role.session_token = aws.key, aws.secret, ""

    monkeypatch.setattr(AssumedRole, "__init__", made)
    again = IcebergTables(tables.name, tables._properties, files=files_in_s3())
    assert load(again, staged(version="v2", rows=(4,))).replaced_rows == 3
    assert count(again.files(TABLE, MARCH)) == 4


def test_a_purge_is_asked_for_as_the_specification_spells_it(
    in_s3_tables: IcebergTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = in_s3_tables._catalog()._session  # type: ignore[attr-defined]
    sent, send = [], session.send

    def noted(request: requests.PreparedRequest, **given: Any) -> requests.Response:
        sent.append(f"{request.method} {request.url}")
        response: requests.Response = send(request, **given)
        return response

    monkeypatch.setattr(session, "send", noted)
    in_s3_tables.drop(TABLE)
    (dropped,) = [one for one in sent if one.startswith("DELETE ")]
    assert dropped.endswith("?purgeRequested=true")
    assert in_s3_tables.fields(TABLE) is None


def test_rights_that_are_missing_are_told_by_what_was_refused(
    in_glue: IcebergTables, staged: Callable[..., Encoded], aws: Aws
) -> None:
    load(in_glue, staged(rows=(3,)))
    before, encoded = data_of(in_glue), staged()
    refused = "User: arn:aws:iam::1:user/x is not authorized"
    for action, call in (
        ("GetTable", lambda: in_glue.fields(TABLE)),
        ("GetTable", lambda: in_glue.files(TABLE, MARCH)),
        ("GetDatabases", in_glue.tables),
        ("UpdateTable", lambda: load(in_glue, encoded)),
    ):
        aws.glue.fail_next(action, "AccessDeniedException", refused)
        with pytest.raises(
            ConfigurationError, match=rf"{action} operation: User: .* (IAM|Allow glue)"
        ):
            call()
    assert data_of(in_glue) == before
    assert count(in_glue.files(TABLE, MARCH)) == 3


def test_a_right_that_s3_tables_refuses_is_told(
    in_s3_tables: IcebergTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Any = in_s3_tables._catalog()._session  # type: ignore[attr-defined]
    request = session.request

    def forbidden(*asked: Any, **given: Any) -> Any:
        got = request(*asked, **given)
        got.status_code = 403
        got._content = b'{"error": {"message": "no", "type": "Forbidden", "code": 403}}'
        return got

    monkeypatch.setattr(session, "request", forbidden)
    with pytest.raises(ConfigurationError, match="Forbidden: no"):
        in_s3_tables.files(TABLE, MARCH)


def test_a_service_that_is_busy_for_a_moment_is_asked_again(
    in_glue: IcebergTables, staged: Callable[..., Encoded], aws: Aws
) -> None:
    aws.glue.fail_next("UpdateTable", "ThrottlingException", "Rate exceeded")
    assert load(in_glue, staged()).rows == 2


def test_a_service_that_is_not_there_is_a_named_error(
    aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("pyiceberg.catalog.glue.MAX_RETRIES", 0)
    clients = AwsClients(aws.region)
    gone = IcebergTables("glue", glue_catalog_properties(clients, "s3://bucket/iceberg"))
    with pytest.raises(StorageWriteError, match="Could not connect"):
        gone.fields(TABLE)


@pytest.mark.parametrize("kind", ["glue", "s3_tables"])
def test_without_credentials_nothing_is_tried(
    kind: str, aws: Aws, aws_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    clients = AwsClients(aws.region)
    properties = (
        glue_catalog_properties(clients, "s3://bucket/iceberg")
        if kind == "glue"
        else s3_tables_properties(clients, "arn:aws:s3tables:r:1:bucket/b", aws.iceberg_url)
    )
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        IcebergTables("lake", properties).fields(TABLE)


def test_no_secret_is_among_the_properties(aws: Aws, aws_environment: object) -> None:
    clients = AwsClients(aws.region)
    properties = {
        **glue_catalog_properties(clients, "s3://bucket/iceberg/"),
        **s3_tables_properties(clients, "arn:aws:s3tables:r:1:bucket/b", aws.iceberg_url),
    }
    assert aws.secret not in properties.values()
    assert aws.key not in properties.values()


def test_s3_tables_are_waited_for_and_not_for_ever(in_s3_tables: IcebergTables) -> None:
    session: Any = in_s3_tables._catalog()._session  # type: ignore[attr-defined]
    assert session.request.keywords == {"timeout": (10, 120)}


def test_a_dropped_table_in_glue_takes_its_folder_along(
    in_glue: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    load(in_glue, staged())
    folder = in_glue.uri(TABLE)
    assert files_in_s3().list(folder)
    in_glue.drop(TABLE)
    assert files_in_s3().list(folder) == []
    assert in_glue.create(TABLE, FIELDS)
    assert in_glue.files(TABLE, MARCH).files == ()


def test_what_a_killed_load_left_in_s3_is_removed_when_it_is_old_enough(
    in_glue: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    load(in_glue, staged(rows=(3,)))
    load(in_glue, staged(rows=(1,), version="v2"))
    history = data_of(in_glue)
    left = f"{in_glue.uri(TABLE)}/data/cur/2025-03/left.parquet"
    files_in_s3().write(left, b"half")
    assert in_glue.remove_orphans(TABLE) == ()
    assert in_glue.remove_orphans(TABLE, CleanUp(older_than=timedelta(0))) == (left,)
    assert data_of(in_glue) == history


def test_a_table_bucket_cleans_up_by_itself(in_s3_tables: IcebergTables) -> None:
    with pytest.raises(ConfigurationError, match="own rules"):
        in_s3_tables.remove_orphans(TABLE)


def test_a_table_that_took_the_name_under_a_load_is_left_alone(
    in_glue: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    """Files that were placed for the old table lie in a folder that goes with it."""
    load(in_glue, staged(rows=(3,)))
    encoded = staged(rows=(9,))
    renewed: list[bool] = []

    def renew() -> None:
        if not renewed:
            renewed.append(True)
            in_glue._catalog().rename_table(TABLE, f"{TABLE}__before")
            in_glue.create(TABLE, FIELDS)
            load(in_glue, staged(APRIL, (1,)), APRIL)

    with pytest.raises(CommitConflictError, match="replaced by another"):
        load(in_glue, encoded, verify=renew)
    assert in_glue.periods(TABLE, "cur") == ("2025-04",)
    assert count(in_glue.files(f"{TABLE}__before", MARCH)) == 3


def test_a_name_that_something_else_has_in_glue_is_not_taken_for_a_missing_table(
    in_glue: IcebergTables, aws: Aws
) -> None:
    aws.client("glue").create_table(
        DatabaseName="billing",
        TableInput={"Name": "cur_csv", "Parameters": {"classification": "csv"}},
    )
    for call in (
        lambda: in_glue.fields("billing.cur_csv"),
        lambda: in_glue.create("billing.cur_csv", FIELDS),
        lambda: in_glue.drop("billing.cur_csv"),
    ):
        with pytest.raises(TableError, match=r"billing\.cur_csv"):
            call()
    aws.client("glue").delete_table(DatabaseName="billing", Name="cur_csv")


def test_threads_that_load_periods_at_once_all_succeed_on_aws(
    tables: IcebergTables, staged: Callable[..., Encoded]
) -> None:
    keys = [MARCH, APRIL]
    encoded = [staged(keys[n % 2], (2, 1), version=f"v{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: load(tables, encoded[n], keys[n % 2]), range(4)))
    for key in keys:
        assert count(tables.files(TABLE, key)) == 3
        assert len(versions(tables.files(TABLE, key))) == 1
