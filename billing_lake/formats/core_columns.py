"""The core columns of a bill, by which exports of every format are read as one: FOCUS names in lower case, and their types.

Each format says how a table of it gives them, as SQL that DuckDB and Trino have in common. Two are not in FOCUS: the code of the
service, which is the same in all of AWS's formats, and the format's own kind of charge.
"""

from __future__ import annotations

from collections.abc import Mapping

from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Type

CORE_COLUMNS: Mapping[str, Type] = {
    "billingaccountid": STRING,
    "billingaccountname": STRING,
    "subaccountid": STRING,
    "subaccountname": STRING,
    "billingperiodstart": TIMESTAMP,
    "chargeperiodstart": TIMESTAMP,
    "chargeperiodend": TIMESTAMP,
    "chargecategory": STRING,
    "chargedescription": STRING,
    "servicename": STRING,
    "x_servicecode": STRING,
    "x_chargetype": STRING,
    "regionid": STRING,
    "resourceid": STRING,
    "invoiceid": STRING,
    "invoiceissuername": STRING,
    "consumedquantity": DECIMAL,
    "billingcurrency": STRING,
    "billedcost": DECIMAL,
    "effectivecost": DECIMAL,
    "listcost": DECIMAL,
}
"""Name to type, in the order in which they stand."""
