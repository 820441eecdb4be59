"""De-identification of DICOM by PS3.15 Annex E, decided on the raw bytes of each element.

`profile` holds the rules, `pseudonyms` the keyed replacements, `rewrite` applies both at every depth, `identifiers`
collects a study's own values, `known` finds them in text and `residual` searches what was written for them.
"""
