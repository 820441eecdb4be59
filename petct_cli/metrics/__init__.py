"""Metrics: n-gram overlap, lesion sites, null controls, statistics."""
