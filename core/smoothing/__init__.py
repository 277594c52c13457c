"""Gaussian-process smoothing of a learned policy. Free of torch, so that the method can be listed without it."""
