"""Fails at import, as a plug-in with a missing licence file or library does."""

raise RuntimeError("the licence file is not there")
