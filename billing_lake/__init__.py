"""Billing Lake: cloud billing exports as tables that a finance team can trust."""

__version__ = "0.1.0"
