"""Finds the version of FOCUS that a report follows, as far as its columns tell.

Versions differ in the columns that they add. Most of these may be left out, so a report without any of them may follow any version:
then nothing is said, rather than guessed.
"""

from __future__ import annotations

from collections.abc import Collection

_ADDED = {
    "1.4": "commitmentprogrameligibilitydetails invoicedetailid",
    "1.3": """
        allocatedmethoddetails allocatedmethodid allocatedresourceid allocatedresourcename allocatedtags contractapplied
        hostprovidername serviceprovidername
    """,
    "1.2": """
        invoiceid pricingcurrency pricingcurrencycontractedunitprice pricingcurrencyeffectivecost pricingcurrencylistunitprice
    """,
    "1.1": """
        capacityreservationid capacityreservationstatus commitmentdiscountquantity commitmentdiscountunit servicesubcategory
        skumeter skupricedetails
    """,
    "1.0": "x_costcategories x_usagetype",
    "1.0-preview": "chargesubcategory",
}
"""The columns that tell a version, the newest first. Of 1.0 and its preview there are columns that went away again: two of AWS's
export, and one of the preview. The types of accounts that 1.2 added stand in Microsoft's reports of 1.0, too, and tell nothing."""


def version_of(columns: Collection[str]) -> str:
    """Return the version that a report with ``columns`` follows; empty where they do not tell."""
    have = {*columns}
    return next((version for version, added in _ADDED.items() if have & {*added.split()}), "")
