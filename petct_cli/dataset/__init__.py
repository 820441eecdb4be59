"""Matching reports to studies, splits by patient, and the samples that a study yields."""
