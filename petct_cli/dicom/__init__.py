"""DICOM on disk: scanning, reading, de-identification, and synthetic objects."""
