"""What each stage adds to a record's ``provenance``: its version and the hashes of its options and inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from petct_cli.core.hashing import sha256_json
from petct_cli.core.records import ProvenanceEntry, Record

RecordT = TypeVar("RecordT", bound=Record)


def entry(stage: str, version: str, options: Mapping[str, Any], inputs: Sequence[str]) -> ProvenanceEntry:
    """Describe one stage's work.

    Parameters
    ----------
    options
        Only the options that change the content: never where it is written, with how many jobs or under which key.
    inputs
        Hashes of what was read, in a stable order.
    """
    return ProvenanceEntry(
        stage=stage, version=version, options_sha256=sha256_json(dict(options)), inputs_sha256=sha256_json(list(inputs))
    )


def stamped(record: RecordT, new: ProvenanceEntry) -> RecordT:
    """Return `record` with `new` at the end of its provenance."""
    return record.with_fields(provenance=[*record.provenance, new])
