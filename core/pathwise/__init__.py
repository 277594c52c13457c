"""Policies trained by the exact gradient of a differentiable simulator, with multipliers for limits."""
