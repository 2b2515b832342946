"""The AWS side of Billing Lake as code: a lake, exports that are delivered into it, and a Dagster that loads them."""
