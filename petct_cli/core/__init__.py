"""Records, JSONL, errors, the parallel map, the store, the lock and provenance: standard library, pydantic and orjson only."""
