"""Finite constrained decision processes and their exact solutions: the ground truth that methods are tested against."""
