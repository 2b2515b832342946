"""Says which actions of IAM an HTTP request to S3, to S3 Tables or to the Iceberg REST catalog is checked for, and on what.

A request that is not known here raises: a test of rights that overlooks a request proves nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET

Checks = list[tuple[str, str]]
"""Actions and the ARNs that they are asked for."""

_CREDENTIAL = re.compile(r"Credential=([^/\s]+)/\d{8}/[^/]+/([^/]+)/aws4_request")

_LISTING = {
    "list-type",
    "prefix",
    "delimiter",
    "start-after",
    "continuation-token",
    "max-keys",
    "encoding-type",
    "fetch-owner",
    "marker",
    "x-id",
}


class UnknownRequestError(NotImplementedError):
    """A request whose rights are not known here."""


@dataclass(frozen=True)
class Request:
    """An HTTP request, as far as its rights depend on it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def signed_by(self) -> tuple[str, str]:
        """The access key that signed it, and the service it was signed for."""
        return signer(self.headers.get("authorization", ""))

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass(frozen=True)
class Place:
    """Account and region of what is asked for, and which of its buckets are table buckets."""

    account: str
    region: str
    table_buckets: Callable[[], frozenset[str]]

    def table_bucket(self, name: str) -> str:
        """Return the ARN of a table bucket."""
        return f"arn:aws:s3tables:{self.region}:{self.account}:bucket/{name}"


def signer(authorization: str) -> tuple[str, str]:
    """Return the access key that signed a request, and the service it was signed for; nothing where nobody signed it."""
    found = _CREDENTIAL.search(authorization)
    return (found[1], found[2]) if found else ("", "")


def s3_checks(request: Request, place: Place) -> Checks:
    """Return what S3, or the control plane of S3 Tables on the same port, checks."""
    if request.signed_by[1] == "s3tables":
        return _control_plane_checks(request)
    bucket, _, key = unquote(request.path.lstrip("/")).partition("/")
    if bucket in place.table_buckets():
        return _table_data_checks(request, place.table_bucket(bucket), key)
    arn, query = f"arn:aws:s3:::{bucket}", set(request.query)
    if key:
        return _object_checks(request, f"{arn}/{key}", query)
    if request.method in {"GET", "HEAD"} and query <= _LISTING:
        return [("s3:ListBucket", arn)]
    if (request.method, query) == ("GET", {"location"}):
        return [("s3:GetBucketLocation", arn)]
    if (request.method, query - {"x-id"}) == ("POST", {"delete"}):
        names = [one.text or "" for one in ET.fromstring(request.body).iter() if _is(one, "Key")]
        return [("s3:DeleteObject", f"{arn}/{name}") for name in names]
    raise UnknownRequestError(str(request))


def _object_checks(request: Request, arn: str, query: set[str]) -> Checks:
    query = query - {"x-id"}
    if request.method in {"GET", "HEAD"} and query <= {"partNumber"}:
        return [("s3:GetObject", arn)]
    if request.method in {"GET", "HEAD"} and query == {"versionId"}:
        return [("s3:GetObjectVersion", arn)]
    if request.method in {"PUT", "POST"} and query <= {"uploads", "uploadId", "partNumber"}:
        checks = [("s3:PutObject", arn)]
        if source := request.headers.get("x-amz-copy-source"):
            path, _, version = unquote(source).lstrip("/").partition("?versionId=")
            checks.append((f"s3:GetObject{'Version' * bool(version)}", f"arn:aws:s3:::{path}"))
        return checks
    if request.method == "DELETE" and query <= {"uploadId"}:
        return [("s3:AbortMultipartUpload" if query else "s3:DeleteObject", arn)]
    raise UnknownRequestError(str(request))


def _table_data_checks(request: Request, bucket: str, key: str) -> Checks:
    """Return what is checked for files of tables: they are reached like objects, with rights of their own."""
    namespace, _, rest = key.partition("/")
    table = f"{bucket}/table/{namespace}.{rest.partition('/')[0]}"
    if request.method in {"GET", "HEAD"} and rest:
        return [("s3tables:GetTableData", table)]
    # An upload in parts is ended or given up with the same right; nothing else is removed by hand.
    if (request.method in {"PUT", "POST"} or "uploadId" in request.query) and rest:
        checks = [("s3tables:PutTableData", table)]
        if source := request.headers.get("x-amz-copy-source"):
            checks.append(("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/')}"))
        return checks
    if request.method == "DELETE" and rest:
        # No right of S3 Tables allows it: AWS removes files that no table refers to by itself.
        return [("s3:DeleteObject", table)]
    raise UnknownRequestError(str(request))


def _control_plane_checks(request: Request) -> Checks:
    parts = [unquote(one) for one in request.path.strip("/").split("/")]
    if (request.method, len(parts), parts[0]) == ("GET", 2, "buckets"):
        return [("s3tables:GetTableBucket", parts[1])]
    match request.method, parts:
        case "PUT", ["tables", bucket, namespace, name, "maintenance", _]:
            table = f"{bucket}/table/{namespace}.{name}"
            return [("s3tables:PutTableMaintenanceConfiguration", table)]
    raise UnknownRequestError(str(request))


def iceberg_checks(request: Request, place: Place) -> Checks:
    """Return what the Iceberg REST endpoint of S3 Tables checks, as AWS documents it operation by operation."""
    parts = [unquote(one) for one in request.path.strip("/").split("/")]
    if parts == ["v1", "config"]:
        name = request.query["warehouse"].removeprefix("s3://").strip("/").rpartition("/")[2]
        return [("s3tables:GetTableBucket", place.table_bucket(name))]
    bucket = place.table_bucket(parts[1])
    match request.method, parts[2:]:
        case "POST", ["tables", "rename"]:
            source = json.loads(request.body)["source"]
            name = ".".join((*source["namespace"], source["name"]))
            return [("s3tables:RenameTable", f"{bucket}/table/{name}")]
        case _, ["namespaces"] | ["namespaces", _]:
            return _namespace_checks(request, bucket, parts[3:])
        case method, ["namespaces", namespace, "tables", *names]:
            name = names[0] if names else json.loads(request.body or b"{}").get("name")
            table = f"{bucket}/table/{namespace}.{name}"
            known = _TABLE_CHECKS.get((method, len(names)))
            if known is not None:
                return [(action, bucket if wide else table) for action, wide in known]
    raise UnknownRequestError(str(request))


def _namespace_checks(request: Request, bucket: str, names: list[str]) -> Checks:
    actions = {
        ("GET", 0): "ListNamespaces",
        ("POST", 0): "CreateNamespace",
        ("GET", 1): "GetNamespace",
        ("HEAD", 1): "GetNamespace",
        ("DELETE", 1): "DeleteNamespace",
    }
    action = actions.get((request.method, len(names)))
    if action is None:
        raise UnknownRequestError(str(request))
    return [(f"s3tables:{action}", bucket)]


# Action, and whether it is asked for the bucket rather than for the table.
_TABLE_CHECKS: dict[tuple[str, int], list[tuple[str, bool]]] = {
    ("GET", 0): [("s3tables:ListTables", True)],
    ("POST", 0): [("s3tables:CreateTable", True), ("s3tables:PutTableData", False)],
    ("GET", 1): [("s3tables:GetTableMetadataLocation", False), ("s3tables:GetTableData", False)],
    ("HEAD", 1): [("s3tables:GetTable", False)],
    ("POST", 1): [
        ("s3tables:UpdateTableMetadataLocation", False),
        ("s3tables:PutTableData", False),
        ("s3tables:GetTableMetadataLocation", False),
    ],
    ("DELETE", 1): [("s3tables:DeleteTable", False)],
}


def _is(element: ET.Element, name: str) -> bool:
    return element.tag.rpartition("}")[2] == name
