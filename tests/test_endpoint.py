"""A language model behind an endpoint: what is sent, what is believed, and what is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ConfigDict

from petct_cli.core.endpoint import KEY_VARIABLE, AnswerError, Endpoint, EndpointError, Prompt
from petct_cli.core.errors import PetctError, UsageError
from petct_cli.report.llm_lesions import EndpointExtractor
from tests.samples import lines

REPORT = "Nốt thùy trên phổi phải kích thước 12 x 9 mm, tăng chuyển hóa FDG (SUVmax: 3,2). Gan không thấy tổn thương."
NODULE = {
    "quote": "Nốt thùy trên phổi phải kích thước 12 x 9 mm, tăng chuyển hóa FDG (SUVmax: 3,2)",
    "type": "Nốt",
    "position": "thùy trên phổi phải",
    "size": "12 x 9 mm",
    "suv_max": "3,2",
    "fdg": "increased",
}


def completion(content: Any, finish: str | None = "stop") -> bytes:
    text = content if isinstance(content, str) else orjson.dumps(content).decode()
    return orjson.dumps({"choices": [{"finish_reason": finish, "message": {"role": "assistant", "content": text}}]})


@dataclass
class Reply:
    """What the server does to one request."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    hold: threading.Event | None = None


@dataclass
class Server:
    """A real server on the loopback that gives `replies` in turn, the last one for ever."""

    replies: list[Reply]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def next(self) -> Reply:
        return self.replies[min(len(self.paths), len(self.replies)) - 1]


@contextmanager
def serving(*replies: Reply) -> Iterator[Server]:
    server = Server(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.paths.append(self.path)
            server.headers.append(dict(self.headers))
            server.requests.append(orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            reply = server.next()
            if reply.hold is not None:
                reply.hold.wait(20)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) if reply.declared is None else reply.declared))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        for reply in replies:
            if reply.hold is not None:
                reply.hold.set()
        listening.shutdown()
        listening.server_close()
        thread.join()


def extractor(server: Server, **changes: Any) -> EndpointExtractor:
    return EndpointExtractor(Endpoint(server.url, "model-x", **{"pause_s": 0.01, "timeout_s": 5.0, **changes}))


def test_a_right_answer_becomes_the_lesions_of_the_rules() -> None:
    with serving(Reply(completion({"lesions": [NODULE]}))) as server:
        found = extractor(server).lesions(REPORT)
    assert found is not None
    [lesion] = found
    assert (lesion.site, lesion.side, lesion.kind) == ("lung", "right", "nodule")
    assert (lesion.size_mm, lesion.sizes_mm, lesion.suv_max, lesion.fdg) == (12, (12, 9), 3.2, "increased")
    assert REPORT[slice(*lesion.span)] == NODULE["quote"]


def test_what_is_not_stated_is_unknown() -> None:
    bare = {"quote": "Nốt thùy trên phổi phải", "type": None, "position": None, "size": None, "suv_max": None}
    with serving(Reply(completion({"lesions": [{**bare, "fdg": "not_stated"}]}))) as server:
        found = extractor(server).lesions(REPORT)
    assert found is not None
    [lesion] = found
    assert (lesion.site, lesion.organ, lesion.side, lesion.kind) == (None, None, None, None)
    assert (lesion.size_mm, lesion.suv_max, lesion.fdg) == (None, None, None)


def test_several_places_are_one_finding_and_no_lesions_are_an_empty_list() -> None:
    text = "Hạch nách phải và hạch bẹn trái."
    nodes = {**NODULE, "quote": text, "type": "hạch", "position": "nách phải và bẹn trái", "size": "Không có"}
    with serving(Reply(completion({"lesions": [nodes]})), Reply(completion({"lesions": []}))) as server:
        asked = extractor(server)
        found, none, empty = asked.lesions(text), asked.lesions("Bình thường."), asked.lesions(" . ")
        assert len(server.requests) == 2
    assert found is not None
    assert {(one.site, one.side, one.size_mm) for one in found} == {
        ("axillary_node", "right", None),
        ("inguinal_node", "left", None),
    }
    assert {one.finding for one in found} == {0}
    assert none == () == empty


def test_what_is_sent_can_be_sent_again() -> None:
    with serving(Reply(completion({"lesions": []}))) as server:
        extractor(server, seed=7).lesions(REPORT)
        extractor(server, seed=7).lesions(REPORT)
    assert server.paths == ["/v1/chat/completions"] * 2
    one, other = server.requests
    assert one == other
    assert (one["model"], one["temperature"], one["seed"]) == ("model-x", 0, 7)
    assert one["response_format"]["type"] == "json_schema"
    assert one["response_format"]["json_schema"]["strict"] is True
    assert one["messages"][1] == {"role": "user", "content": REPORT}
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "body",
    [
        completion({"lesions": []}, "length"),
        completion({"lesions": []}, "content_filter"),
        completion({"lesions": []}, None),
        completion('{"lesions": ['),
        completion("```json\n[]\n```"),
        completion([]),
        completion({"lesions": [{**NODULE, "fdg": "maybe"}]}),
        completion({"lesions": [{**NODULE, "confidence": 1}]}),
        completion({"lesions": [{key: NODULE[key] for key in NODULE if key != "size"}]}),
        completion({"lesions": [{**NODULE, "size": 12}]}),
        completion({"lesions": [{**NODULE, "quote": "Khối gan 40 mm"}]}),
        completion({"lesions": [{**NODULE, "quote": ""}]}),
        orjson.dumps({"choices": []}),
        orjson.dumps({"choices": [{"finish_reason": "stop", "message": {"content": None, "refusal": "no"}}]}),
        b"<html>log in</html>",
        b"",
    ],
)
def test_a_bad_answer_is_a_failure_and_never_no_lesions(body: bytes) -> None:
    with serving(Reply(body)) as server:
        assert extractor(server).lesions(REPORT) is None
        assert len(server.requests) == 1


def test_a_quote_in_another_spelling_is_still_a_quote() -> None:
    quote = NODULE["quote"].upper().replace("HÓA", "HOÁ").replace("3,2", "3.2")
    with serving(Reply(completion({"lesions": [{**NODULE, "quote": quote}]}))) as server:
        found = extractor(server).lesions(REPORT)
    assert found is not None
    assert found[0].span == (0, len(REPORT))


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")
    word: str


ASKED = Prompt("word", "Say it.")


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(PetctError) as raised:
        act()
    assert "bí mật" not in str(raised.value)
    return raised.value.code


@pytest.mark.parametrize(
    ("reply", "code", "requests"),
    [
        (Reply(completion({"word": "bí mật"}, "length")), "answer_truncated", 1),
        (Reply(completion({"bí mật": 1})), "answer_invalid", 1),
        (Reply(completion({"word": ["bí mật"]})), "answer_invalid", 1),
        (Reply("bí mật".encode().ljust(9 << 20), 200), "answer_invalid", 1),
        (Reply(completion({"word": "bí mật"}), declared=5000), "answer_missing", 3),
        (Reply(b"", 400), "answer_refused", 1),
        (Reply(b"", 422), "answer_refused", 1),
        (Reply(b"", 500), "answer_missing", 3),
        (Reply(b"", 503, {"Retry-After": "0"}), "answer_missing", 3),
        (Reply(b"", 401), "endpoint_refused", 1),
        (Reply(b"", 404), "endpoint_refused", 1),
    ],
)
def test_what_goes_wrong_has_a_code(reply: Reply, code: str, requests: int) -> None:
    with serving(reply) as server:
        asked = Endpoint(server.url, "m", attempts=3, pause_s=0.01, timeout_s=1.0)
        assert code_of(lambda: asked.ask(ASKED, "bí mật", Shape)) == code
        assert len(server.requests) == requests


def test_a_busy_server_is_asked_again() -> None:
    with serving(Reply(status=429), Reply(status=503), Reply(completion({"word": "a"}))) as server:
        assert Endpoint(server.url, "m", pause_s=0.01).ask(ASKED, "?", Shape).word == "a"
        assert len(server.requests) == 3


def test_a_slow_server_is_given_up() -> None:
    with serving(Reply(completion({"word": "a"}), hold=threading.Event())) as server:
        asked = Endpoint(server.url, "m", attempts=2, pause_s=0.01, timeout_s=0.2)
        assert code_of(lambda: asked.ask(ASKED, "?", Shape)) == "answer_missing"


def test_no_redirect_is_followed() -> None:
    with serving(Reply(completion({"word": "a"}))) as elsewhere:
        away = Reply(status=307, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with serving(away) as server:
            asked = Endpoint(server.url, "m")
            assert code_of(lambda: asked.ask(ASKED, "?", Shape)) == "endpoint_refused"
        assert elsewhere.requests == []


def test_a_server_that_is_not_there_ends_the_run() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    asked = EndpointExtractor(Endpoint(f"http://127.0.0.1:{port}", "m", attempts=2, pause_s=0.01))
    with pytest.raises(EndpointError) as raised:
        asked.lesions(REPORT)
    assert raised.value.code == "endpoint_unreachable"


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:8000/v1",
        "https://api.example.org/v1",
        "http://127.0.0.1.example.org/v1",
        "http://localhost.example.org/",
        "http://[2001:db8::1]/v1",
        "http://0.0.0.0:8000/v1",
        "http://127.1/v1",
    ],
)
def test_texts_stay_on_this_machine_unless_told(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        Endpoint(url, "m")
    assert raised.value.code == "remote_endpoint"
    assert Endpoint(url, "m", allow_remote=True).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://127.0.0.1",
        "http://",
        "http://a@127.0.0.1",
        "http://127.0.0.1:x",
        "http://127.0.0.1/?q=1",
        "http://127.0.0.1/a b",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        Endpoint(url, "m", allow_remote=True)
    assert raised.value.code == "bad_endpoint"


def test_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Reply(completion({"word": "proxy"}))) as proxy, serving(Reply(completion({"word": "own"}))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert Endpoint(server.url, "m").ask(ASKED, "?", Shape).word == "own"
        assert proxy.requests == []


def test_the_key_goes_to_the_endpoint_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-none-of-yours")
    with serving(Reply(completion({"word": "a"})), Reply(status=401)) as server:
        asked = Endpoint(server.url, "m", cache=tmp_path / "answers")
        asked.ask(ASKED, "?", Shape)
        assert server.headers[0]["Authorization"] == "Bearer sk-none-of-yours"
        with pytest.raises(EndpointError) as raised:
            asked.ask(ASKED, "another", Shape)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "answers").iterdir())
    assert "sk-none" not in f"{asked!r} {raised.value!r} {kept!r} {EndpointExtractor(asked).version}"


@pytest.mark.parametrize("key", ["sk-none\nHost: elsewhere", "sk-nonê"])
def test_a_key_that_is_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with serving(Reply(completion({"word": "a"}))) as server:
        with pytest.raises(EndpointError) as raised:
            Endpoint(server.url, "m").ask(ASKED, "?", Shape)
        assert server.requests == []
    assert "sk-" not in repr(raised.value)


def test_answers_are_kept_as_they_came_and_not_asked_for_twice(tmp_path: Path) -> None:
    cache = tmp_path / "answers"
    raw = completion({"word": "một"})
    with serving(Reply(raw)) as server:
        assert Endpoint(server.url, "m", cache=cache).ask(ASKED, "?", Shape).word == "một"
        assert Endpoint(server.url, "m", cache=cache).ask(ASKED, "?", Shape).word == "một"
        assert len(server.requests) == 1
        [kept] = cache.iterdir()
        assert kept.read_bytes() == raw
        assert (cache.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)
        for other in (
            Endpoint(server.url, "n", cache=cache),
            Endpoint(server.url, "m", cache=cache, seed=1),
            Endpoint(server.url, "m", cache=cache, max_tokens=9),
        ):
            other.ask(ASKED, "?", Shape)
        Endpoint(server.url, "m", cache=cache).ask(Prompt("word", "Say it otherwise."), "?", Shape)
        assert len(server.requests) == 5
    # The folder answers alone.
    assert Endpoint(server.url, "m", cache=cache).ask(ASKED, "?", Shape).word == "một"


def test_a_cut_answer_stays_a_failure_in_the_cache_and_a_login_page_is_not_kept(tmp_path: Path) -> None:
    cut = Reply(completion({"word": "a"}, "length"))
    with serving(Reply(b"<html>"), cut) as server:
        asked = Endpoint(server.url, "m", cache=tmp_path)
        assert code_of(lambda: asked.ask(ASKED, "?", Shape)) == "answer_invalid"
        assert code_of(lambda: asked.ask(ASKED, "?", Shape)) == "answer_truncated"
        assert code_of(lambda: asked.ask(ASKED, "?", Shape)) == "answer_truncated"
        assert len(server.requests) == 2
    with pytest.raises(AnswerError):
        asked.ask(ASKED, "?", Shape)


def test_the_version_names_model_prompt_and_parameters() -> None:
    versions = {
        EndpointExtractor(Endpoint("http://localhost:1", model, **changes)).version
        for model, changes in (("m", {}), ("n", {}), ("m", {"seed": 1}), ("m", {"max_tokens": 5}))
    }
    assert len(versions) == 4
    assert "|" not in EndpointExtractor(Endpoint("http://localhost:1", "a|b c")).version
    assert EndpointExtractor(Endpoint("http://127.0.0.2:9", "m")).version in versions


def test_a_drip_does_not_outlast_the_timeout() -> None:
    """A server that sends a byte now and then is as slow as one that sends none."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        asked = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", "m", attempts=1, timeout_s=0.3)
        assert code_of(lambda: asked.ask(ASKED, "?", Shape)) == "answer_missing"
        stop.set()
        thread.join()


SCORED = [
    {"id": "a", "patient": "p", "reference": REPORT, "hypothesis": REPORT},
    {"id": "b", "patient": "q", "reference": "Nốt ở gan.", "hypothesis": "Nốt gan."},
]


def test_score_reads_lesions_by_the_endpoint(petct: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-none-of-yours")
    right, cut = Reply(completion({"lesions": [NODULE]})), Reply(completion({"lesions": []}, "length"))
    options = ["--metrics", "f1_tp,bleu4", "--no-controls", "--extractor-model", "model-x"]
    with serving(right, cut) as server:
        options += ["--extractor-url", server.url, "--extractor-cache", str(tmp_path / "answers")]
        done = petct("score", *options, stdin=lines(*SCORED))
        # Three texts: the first is reference and hypothesis alike.
        assert len(server.requests) == 3
        again = petct("score", *options, stdin=lines(*SCORED))
        assert len(server.requests) == 3
    assert done.code == 0, done.stderr
    assert again.stdout == done.stdout
    found = {one["metric"]: one for one in done.records}
    assert found["f1_tp"]["value"] == 100
    assert found["f1_tp"]["counts"]["reports"] == 1
    assert found["f1_tp"]["counts"]["reference_extraction_failed"] == 1
    assert found["f1_tp"]["counts"]["extraction_failed"] == 1
    assert "extractor:llm-model-x-prompt." in found["f1_tp"]["signature"]
    assert found["bleu4"]["n"] == 2
    for place in (str(tmp_path), "sk-none", "127.0.0.1"):
        assert place not in done.stdout.decode()
    assert "sk-none" not in done.stderr


def test_score_by_the_rules_has_other_provenance(petct: Any) -> None:
    with serving(Reply(completion({"lesions": []}))) as server:
        one = petct(
            "score", "--metrics", "f1_tp", "--extractor-url", server.url, "--extractor-model", "m", stdin=lines(*SCORED)
        )
    other = petct("score", "--metrics", "f1_tp", stdin=lines(*SCORED))
    assert one.records[0]["provenance"][-1]["options_sha256"] != other.records[0]["provenance"][-1]["options_sha256"]
    assert "extractor:rules-vi" in other.records[0]["signature"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--extractor-url", "http://127.0.0.1:1"], "bad_option"),
        (["--extractor-model", "m"], "bad_option"),
        (["--extractor-remote"], "bad_option"),
        (["--extractor-url", "https://api.example.org/v1", "--extractor-model", "m"], "remote_endpoint"),
        (["--extractor-url", "nowhere", "--extractor-model", "m"], "bad_endpoint"),
    ],
)
def test_score_refuses_half_an_extractor(petct: Any, options: list[str], code: str) -> None:
    done = petct("score", *options, stdin=lines(*SCORED))
    assert done.code == 2
    assert done.stdout == b""
    assert code == "bad_option" or "machine" in done.stderr or "endpoint" in done.stderr
