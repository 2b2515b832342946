"""The commands of `billing-lake`, one module each, and what they share.

At import they need click and the domain only.
"""
