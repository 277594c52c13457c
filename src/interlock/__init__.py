"""Interlock: constrained decision-making for operations."""

__version__ = "0.1.0"
