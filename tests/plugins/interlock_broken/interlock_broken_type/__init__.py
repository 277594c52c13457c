"""Holds something else than a domain, and a domain under another name."""

from interlock.core.problem import DomainInfo

TEXT = "I am no domain"
OTHER = DomainInfo("another_name", "", "", "", "", "", "", {})
