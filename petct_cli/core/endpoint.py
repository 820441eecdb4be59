"""A language model behind an OpenAI-compatible HTTP endpoint, asked for JSON of a given shape.

Reports are patient data, so an endpoint is on this machine unless the user says otherwise; no proxy is used and no
redirect followed. Temperature is 0 and the seed fixed, answers are kept as they came, and an answer that is cut off or
not of the shape asked for is an error, never an empty one.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import orjson
from pydantic import BaseModel, ValidationError

from petct_cli.core.errors import OutputError, RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes, sha256_json
from petct_cli.core.store import write_atomically

KEY_VARIABLE = "PETCT_API_KEY"
"""Environment variable of the key that the endpoint wants, if it wants one; it is kept nowhere else."""

_LARGEST = 8 << 20
_LONGEST_PAUSE_S = 30.0
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_CANNOT_GO_ON = frozenset({401, 402, 403, 404, 405, 501})

Answer = TypeVar("Answer", bound=BaseModel)


class EndpointError(OutputError):
    """The endpoint cannot be used, for this question or another."""


class AnswerError(RecordError):
    """The endpoint did not answer this question in full."""


class _TryAgainError(Exception):
    def __init__(self, what: str, pause_s: float | None = None, *, dead: bool = False) -> None:
        super().__init__(what)
        self.pause_s = pause_s
        self.dead = dead


@dataclass(frozen=True)
class Prompt:
    """What every question begins with.

    Attributes
    ----------
    name
        Of the shape of the answer, for the endpoint.
    system
        Instructions.
    """

    name: str
    system: str

    @property
    def sha256(self) -> str:
        """Hash of the instructions."""
        return sha256_bytes(self.system.encode())


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and how to ask it.

    Parameters
    ----------
    base_url
        Up to and without ``/chat/completions``, such as ``http://127.0.0.1:8000/v1``.
    model
        Name under which the endpoint serves the model.
    allow_remote
        Whether texts may leave this machine.
    cache
        Folder of answers as they came, by SHA-256 of model, prompt and parameters; None keeps none. They hold what the
        model said of patients: folder 0700, files 0600.
    seed
        Of sampling, for servers that sample even at temperature 0.
    max_tokens
        Of one answer.
    timeout_s
        Of one attempt, in seconds.
    attempts
        At an answer, with a growing pause after each.
    pause_s
        First pause, in seconds.

    Raises
    ------
    UsageError
        ``bad_endpoint`` for a URL that is no plain http or https one, ``remote_endpoint`` for one on another machine.
    """

    base_url: str
    model: str
    allow_remote: bool = False
    cache: Path | None = None
    seed: int = 0
    max_tokens: int = 4096
    timeout_s: float = 120.0
    attempts: int = 4
    pause_s: float = 1.0
    _url: SplitResult = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_url", _checked(self.base_url, self.allow_remote))

    def parameters(self, prompt: Prompt, shape: type[BaseModel]) -> dict[str, Any]:
        """Return everything that is sent but the question, as the key of an answer and a prompt hash need it."""
        form = {"name": prompt.name, "strict": True, "schema": shape.model_json_schema()}
        return {
            "model": self.model,
            "temperature": 0,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "response_format": {"type": "json_schema", "json_schema": form},
        }

    def ask(self, prompt: Prompt, question: str, shape: type[Answer]) -> Answer:
        """Return the answer to `question`, from the cache where it is there.

        Raises
        ------
        AnswerError
            ``answer_truncated`` (out of tokens), ``answer_invalid`` (not of `shape`), ``answer_refused`` (the endpoint
            turned the question down) or ``answer_missing`` (nothing in time, after all attempts).
        EndpointError
            ``endpoint_unreachable`` or ``endpoint_refused``: no question will fare better.
        """
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": question}]
        body = {**self.parameters(prompt, shape), "messages": messages}
        kept = None if self.cache is None else self.cache / f"{sha256_json(body)}.json"
        if kept is not None and kept.is_file():
            return _understood(_choice(kept.read_bytes()), shape)
        raw = self._fetch(orjson.dumps(body))
        choice = _choice(raw)
        if kept is not None:
            _keep(kept, raw)
        return _understood(choice, shape)

    def _fetch(self, body: bytes) -> bytes:
        pause = self.pause_s
        for attempt in range(1, self.attempts + 1):
            try:
                return self._post(body)
            except _TryAgainError as fault:
                if attempt == self.attempts:
                    if fault.dead:
                        message = f"nothing answers at the endpoint: {fault}"
                        raise EndpointError("endpoint_unreachable", message, "is the server running?") from None
                    raise AnswerError("answer_missing", f"no answer after {attempt} attempts: {fault}") from None
                time.sleep(min(pause if fault.pause_s is None else fault.pause_s, _LONGEST_PAUSE_S))
                pause *= 2
        raise AssertionError("attempts is at least 1")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            if not (key.isascii() and key.isprintable()):
                # Told here, since what refuses it in a header repeats it.
                raise EndpointError("endpoint_refused", f"what {KEY_VARIABLE} holds cannot be a key")
            headers["Authorization"] = f"Bearer {key}"
        until = time.monotonic() + self.timeout_s
        secure = self._url.scheme == "https"
        host, port = self._url.hostname or "", self._url.port
        connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(
            host, port, timeout=self.timeout_s
        )
        try:
            to_endpoint = self._connect(connection)
            connection.request("POST", f"{self._url.path.rstrip('/')}/chat/completions", body, headers)
            response = connection.getresponse()
            _judge(response)
            return _read(to_endpoint, response, until)
        except TimeoutError:
            raise _TryAgainError("timed out") from None
        except (http.client.HTTPException, OSError) as error:
            raise _TryAgainError(type(error).__name__) from None
        finally:
            connection.close()

    def _connect(self, connection: http.client.HTTPConnection) -> socket.socket:
        try:
            connection.connect()
        except ssl.SSLError:
            raise EndpointError("endpoint_refused", "the endpoint's certificate is not valid") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise _TryAgainError(reason, dead=True) from None
        to_endpoint: socket.socket = connection.sock
        if not self.allow_remote and not ip_address(to_endpoint.getpeername()[0]).is_loopback:
            # What "localhost" means is up to the machine.
            raise EndpointError("endpoint_refused", "the endpoint is on another machine", _REMOTE_HINT)
        return to_endpoint


_REMOTE_HINT = "texts may hold patient data: they leave this machine only by an option of their own"


def _read(to_endpoint: socket.socket, response: http.client.HTTPResponse, until: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise AnswerError("answer_invalid", f"the answer is larger than {_LARGEST >> 20} MiB")
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        to_endpoint.settimeout(left)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _checked(base_url: str, allow_remote: bool) -> SplitResult:
    try:
        url = urlsplit(base_url)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    plain = base_url.isascii() and base_url.isprintable() and " " not in base_url
    if not usable or not plain or "@" in url.netloc or url.query or url.fragment:
        raise UsageError("bad_endpoint", "an endpoint is http(s)://HOST[:PORT][/PATH] without user, query or fragment")
    if not allow_remote and not _is_here(url.hostname or ""):
        raise UsageError("remote_endpoint", "the endpoint is not on this machine", _REMOTE_HINT)
    return url


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _judge(response: http.client.HTTPResponse) -> None:
    status = response.status
    if status == http.client.OK:
        return
    if status in _AGAIN:
        after = response.headers.get("Retry-After", "")
        raise _TryAgainError(f"HTTP {status}", float(after) if after.isascii() and after.isdigit() else None)
    if 300 <= status < 400:
        raise EndpointError("endpoint_refused", f"the endpoint redirects (HTTP {status}); texts go to no other address")
    if status in _CANNOT_GO_ON:
        hint = (
            f"the key is read from {KEY_VARIABLE}"
            if status in (401, 403)
            else "are the URL and the model's name right?"
        )
        raise EndpointError("endpoint_refused", f"the endpoint answers HTTP {status}", hint)
    raise AnswerError("answer_refused", f"the endpoint answers HTTP {status}")


def _keep(path: Path, raw: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("output_failed", f"cannot make {path.parent}: {error.strerror}") from None
    write_atomically(path, raw, mode=0o600)


def _choice(raw: bytes) -> tuple[Any, Any]:
    """Return why the model stopped, and what it said."""
    try:
        choice = orjson.loads(raw)["choices"][0]
        return choice["finish_reason"], choice["message"]["content"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        raise AnswerError("answer_invalid", "the endpoint's answer is no chat completion") from None


def _understood(choice: tuple[Any, Any], shape: type[Answer]) -> Answer:
    finish, content = choice
    if finish == "length":
        raise AnswerError(
            "answer_truncated", "the answer was cut off", "raise the server's or the answer's token limit"
        )
    if finish != "stop" or not isinstance(content, str):
        raise AnswerError("answer_invalid", "the model did not finish its answer")
    try:
        return shape.model_validate_json(content, strict=True)
    except ValidationError as error:
        # What it says instead is about a patient: only where it is wrong is told.
        fault = error.errors(include_input=False, include_context=False, include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"] if isinstance(part, int) or part in shape.model_fields)
        message = f"the answer is not of the shape asked for: {fault['type']} at {place or 'its top'}"
        raise AnswerError("answer_invalid", message) from None
