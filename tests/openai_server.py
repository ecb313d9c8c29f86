"""A server on the loopback that speaks the OpenAI protocol and answers as a test tells it to.

    with OpenAIServer(lambda messages, request: "hello") as server:
        model = get_model("openai/test", base_url=server.url, api_key="test", memoize=False)

It is a real HTTP server: connections, status codes and retries are those that a provider's client sees. `reply` runs
in the request's own thread, so it may sleep. Both of OpenAI's routes are served, since Inspect picks one by the
model's name: chat completions for "gpt-4..." (or with `responses_api=False`), responses for names it does not know.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self


@dataclass(frozen=True)
class Completion:
    """A reply whose ending matters: "length" for one cut off, "content_filter" for one withheld."""

    text: str
    finish_reason: str = "stop"
    refusal: str | None = None


@dataclass(frozen=True)
class RawReply:
    """A body of one's own, with status 200: for replies that no provider should send."""

    content: dict[str, Any]


@dataclass(frozen=True)
class ServerFault:
    """An HTTP error in place of a completion: 429 for a rate limit, 500 for a failure."""

    status: int = 500
    message: str = "the test asked for this"
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None


Reply = Callable[[list[dict[str, Any]], dict[str, Any]], str | Completion | RawReply | ServerFault]
"""(messages, each with its role and its content as a string; the request's whole JSON) -> what is sent back."""


class OpenAIServer:
    """The server; `reply` may be changed while it runs.

    Attributes:
        requests: JSON of every request, in order of arrival.
        highest_in_flight: most requests that were being answered at one time.
    """

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.highest_in_flight = 0
        self._in_flight = 0
        self._lock = Lock()

    @property
    def url(self) -> str:
        """The base URL, for `base_url=` or OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def count(self) -> int:
        """Requests received."""
        return len(self.requests)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: dict[str, Any]) -> Completion | RawReply | ServerFault:
        """Count the request and ask `reply`."""
        with self._lock:
            self.requests.append(request)
            self._in_flight += 1
            self.highest_in_flight = max(self.highest_in_flight, self._in_flight)
        try:
            answer = self.reply(messages_of(request), request)
        finally:
            with self._lock:
                self._in_flight -= 1
        return Completion(answer) if isinstance(answer, str) else answer


def messages_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversation of a request to either route."""
    turns = request["messages"] if "messages" in request else request["input"]
    if isinstance(turns, str):
        return [{"role": "user", "content": turns}]
    return [{"role": turn["role"], "content": _text(turn["content"])} for turn in turns]


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 drops connections that a test opens at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # as a client has it that a test killed
            super().handle_error(request, client_address)


def _handler(server: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path not in _BODIES:
                return self._send(404, _error(f"no such path: {self.path}"))
            request = json.loads(body)
            if request.get("stream"):
                return self._send(400, _error("this server does not stream"))
            answer = server.answer(request)
            if isinstance(answer, ServerFault):
                return self._send(answer.status, _error(answer.message, answer.code), answer.headers)
            if isinstance(answer, RawReply):
                return self._send(200, answer.content)
            return self._send(200, _BODIES[self.path](request, answer))

        def _send(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            body = json.dumps(content).encode()
            try:
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True  # the client gave up waiting, as a test of timeouts has it

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the test's stderr."""

    return Handler


def _chat_completion(request: dict[str, Any], completion: Completion) -> dict[str, Any]:
    sent, received = _tokens(request, completion)
    message = {"role": "assistant", "content": completion.text, "refusal": completion.refusal}
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": completion.finish_reason}],
        "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
    }


def _response(request: dict[str, Any], completion: Completion) -> dict[str, Any]:
    sent, received = _tokens(request, completion)
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(completion.finish_reason)
    status = "incomplete" if reason else "completed"
    text = {"type": "output_text", "text": completion.text, "annotations": []}
    return {
        "id": "resp-test",
        "object": "response",
        "created_at": 0,
        "model": request["model"],
        "status": status,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": [{"type": "message", "id": "msg-test", "role": "assistant", "status": status, "content": [text]}],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": sent,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": received,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sent + received,
        },
    }


_BODIES = {"/v1/chat/completions": _chat_completion, "/v1/responses": _response}


def _tokens(request: dict[str, Any], completion: Completion) -> tuple[int, int]:
    """Sent and received; a word counts as a token."""
    return sum(len(m["content"].split()) for m in messages_of(request)), len(completion.text.split())


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "test_error", "param": None, "code": code}}
