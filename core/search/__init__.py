"""Search over policy parameters."""
