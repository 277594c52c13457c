"""Decisions over several stages, each a program tied to the next by a state: shared by SDDP and decision rules."""
