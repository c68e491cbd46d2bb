"""A local page: an HTTP server that answers to this machine alone, with a fixed set of addresses.

It never turns an address into a path, and answers to this machine's own names only, so that no page of the web can look
at it through the user's browser.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from rb2v.errors import Rb2vError

logger = logging.getLogger(__name__)

Answer = tuple[bytes, str]
"""Body and content type."""

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
_BASE_STYLE = "/base.css"
_IDLE_SECONDS = 60  # after which a silent connection gives its thread back
_LAST_ANSWER_SECONDS = 2.0  # a frame is read in a tenth of that; an idle connection is left behind
_HEADERS = {
    # Frames arrive by fetch, because that brings the message of one that cannot be read, and are shown as blobs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A data set that is built anew must not be shown by its old frames.
    "Cache-Control": "no-store",
}


class PageError(Exception):
    """A request that cannot be answered, with the status and the plain text to answer instead."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class LocalServer(ThreadingHTTPServer):
    """An HTTP server of one page; ``serve_forever`` runs it, ``shutdown`` from another thread ends it.

    Parameters
    ----------
    handler : type
        Answers a request.
    host : str
        The address to listen on.
    port : int
        The port; 0 lets the system choose one.

    Raises
    ------
    Rb2vError
        If that address and port cannot be listened on.
    """

    allow_reuse_port = False  # two servers on one port would answer in turns
    daemon_threads = True  # a connection that idles must not hold up the end

    def __init__(self, handler: type[LocalHandler], host: str = "127.0.0.1", port: int = 8000) -> None:
        self.host = host
        self._answering: set[threading.Thread] = set()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            if not host:
                raise OSError("it is empty, which would mean every address")
            super().__init__((host, port), handler)
        except (OSError, OverflowError, UnicodeError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise Rb2vError(
                f"{host}:{port}: cannot be listened on ({problem}); expected an address of this machine (--host) and a "
                "free port (--port, 0 for any)"
            ) from error

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Answer a request in this thread."""
        self._answering.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._answering.discard(threading.current_thread())

    def server_close(self) -> None:
        """Close the socket, and give answers that are under way a moment.

        A thread that still holds a library's lock would keep the interpreter from ending.
        """
        super().server_close()
        for thread in tuple(self._answering):
            thread.join(_LAST_ANSWER_SECONDS)

    def server_bind(self) -> None:
        """Bind to the address, without asking for the machine's name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def url(self, **state: str | int) -> str:
        """Return the page's address; ``state`` opens it at a view, ``sample=12`` say."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/" + (f"#{urlencode(state)}" if state else "")

    def knows_host(self, header: str) -> bool:
        """Return whether a request's Host is this machine and not a name that was made to point here."""
        try:
            name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in ("localhost", "127.0.0.1", "::1", self.host.lower()):
            return True
        try:
            # Open to the network, the server has addresses that it does not know; no name can pretend to be one.
            return ipaddress.ip_address(self.host).is_unspecified and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Log what a request ended in; a browser that went away is no error."""
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            logger.error("request of %s: %r", client_address, error)


class LocalHandler(BaseHTTPRequestHandler):
    """Answers requests of one server; subclasses say how."""

    server: LocalServer
    protocol_version = "HTTP/1.1"
    server_version = "rb2v"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"
    known_fields: ClassVar[dict[str, set[str]]] = {}
    """Fields of the query that each address knows."""
    page_package: ClassVar[str]
    """Package that the files of the page are data of."""
    page_files: ClassVar[dict[str, str]] = {}
    """Their names, by address."""
    command_name: ClassVar[str] = "rb2v"
    """Of the command that runs the server, for messages."""

    def do_GET(self) -> None:
        """Answer a request for something."""
        self.respond(self.answer)

    def answer(self, path: str, fields: dict[str, str]) -> Answer:
        """Return the answer to a request for an address with the fields of its query.

        Raises
        ------
        PageError
            If it cannot be answered.
        """
        if path == _BASE_STYLE:
            return _read_page_file("rb2v.inspection", _BASE_STYLE[1:])
        if path in self.page_files:
            return _read_page_file(self.page_package, self.page_files[path])
        raise PageError(HTTPStatus.NOT_FOUND, "there is no such page")

    def respond(self, answer: Callable[[str, dict[str, str]], Answer]) -> None:
        """Check a request, and send what a function answers."""
        try:
            body, kind = answer(*self._parse())
        except PageError as error:
            self._send(error.status, error.text.encode("utf-8", "replace") + b"\n", "text/plain; charset=utf-8")
        except Exception:
            logger.exception("%s", self.path)
            text = f"a fault of the program; its message is where '{self.command_name}' runs\n".encode()
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, text, "text/plain; charset=utf-8")
        else:
            self._send(HTTPStatus.OK, body, kind)

    def _parse(self) -> tuple[str, dict[str, str]]:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.knows_host(hosts[0]):
            raise PageError(HTTPStatus.FORBIDDEN, "this page is served to this machine only, under its own name")
        try:
            parts = urlsplit(self.path)
            pairs = (
                parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True, max_num_fields=8)
                if parts.query
                else []
            )
        except ValueError as error:
            raise PageError(HTTPStatus.BAD_REQUEST, "the query cannot be read") from error
        fields = dict(pairs)
        if len(fields) != len(pairs) or not fields.keys() <= self.known_fields.get(parts.path, set()):
            raise PageError(
                HTTPStatus.BAD_REQUEST, "the query holds what this address does not know, or holds it twice"
            )
        return parts.path, fields

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """Send the headers that every answer has."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log a request where details are asked for."""
        logger.debug(format, *args)


def read_whole(fields: dict[str, str], name: str, default: int | None = None) -> int:
    """Return a whole number of a query.

    Raises
    ------
    PageError
        If it is missing, and there is no default, or not a whole number of at most nine digits.
    """
    if name not in fields and default is not None:
        return default
    if not re.fullmatch("[0-9]{1,9}", fields.get(name, "")):
        raise PageError(HTTPStatus.BAD_REQUEST, f"{name}: expected a whole number")
    return int(fields[name])


@functools.cache
def _read_page_file(package: str, name: str) -> Answer:
    return files(package).joinpath(name).read_bytes(), _KINDS[name.rpartition(".")[2]]


def serve(server: LocalServer) -> None:
    """Answer requests until the user interrupts the program."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
