"""What reads lesions for ``score`` where the user does not want the rules to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from petct_cli.core.errors import UsageError

if TYPE_CHECKING:
    from petct_cli.report.llm_lesions import EndpointExtractor


def endpoint_extractor(
    url: str | None, model: str | None, cache: Path | None, remote: bool, seed: int
) -> EndpointExtractor | None:
    """Return the extractor that the options name, None when they name none.

    Raises
    ------
    UsageError
        ``bad_option`` when one is half named, ``bad_endpoint`` and ``remote_endpoint`` as
        `petct_cli.core.endpoint.Endpoint`.
    """
    if url is None and model is None and cache is None and not remote:
        return None
    if not url or not model:
        raise UsageError("bad_option", "--extractor-url and --extractor-model go together, the others with them")
    from petct_cli.core.endpoint import Endpoint
    from petct_cli.report.llm_lesions import EndpointExtractor

    return EndpointExtractor(Endpoint(url, model, allow_remote=remote, cache=cache, seed=seed))
