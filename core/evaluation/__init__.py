"""Held-out evaluation: the protocol, the statistics, and the evidence made of them."""
