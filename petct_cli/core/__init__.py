"""Records, JSONL, errors, the parallel map, the store, the lock, provenance: stdlib, pydantic and orjson only."""
