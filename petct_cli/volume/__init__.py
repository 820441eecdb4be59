"""Volumes: SUV, geometry, resampling, regions, storage, rendering and phantoms. No torch."""
