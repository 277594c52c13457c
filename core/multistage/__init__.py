"""Decisions over several stages, each a mathematical program tied to the next by a state: what SDDP, extensive forms and
decision rules share."""
