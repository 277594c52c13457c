"""Stochastic dual dynamic programming on multistage linear programs: lower bounds, cuts, and the policy they make."""
