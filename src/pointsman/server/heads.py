"""The head of a request: what it says, and what is refused of it."""

from __future__ import annotations

from urllib.parse import unquote

MAX_HEAD = 64 * 1024
"""Bytes of a request's head, at most."""
MOST_HEADERS = 128

ONCE = frozenset((b"host", b"authorization", b"x-api-key", b"origin", b"transfer-encoding"))
"""Headers that say who asks for what: two of them mean that somebody is to be misled."""
METHODS = {name.encode(): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")}


class Refused(ValueError):
    """This is no request that may be served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head:
    """What the head of a request says. A client sends the same with every call, all but the length of its body: so a
    connection knows it again, and whoever answers keeps with it what it has made of it."""

    __slots__ = ("method", "path", "query", "headers", "keeps", "knows_chunks", "expects", "stated_key", "terms")

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        *,
        keeps: bool = True,
        knows_chunks: bool = True,
        expects: bool = False,
    ) -> None:
        path, _, query = target.partition(b"?")
        self.method = method
        self.path = path.decode("latin-1") if b"%" not in path else unquote(path.decode("latin-1"))
        self.query = query.decode("latin-1")
        self.headers = headers
        """Names in lower case; of a header that comes twice the last counts. The length of the body is none of them."""
        self.keeps = keeps
        """The connection lives on after the answer."""
        self.knows_chunks = knows_chunks
        self.expects = expects
        """The client waits for a word before it sends its body."""
        self.stated_key: str | None = None
        """Once it was read, of a client that may ask at all."""
        self.terms: object = None
        """What a door has read of it."""


class Heading:
    """A head as it comes in, header by header. Methods raise Refused."""

    __slots__ = ("target", "_headers", "_repeated")

    def __init__(self) -> None:
        self.target = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeated = 0

    def add(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self._headers:
            self._repeated += 1
            if name in ONCE:
                raise Refused(400, f"The header {name.decode('latin-1')} comes twice.")
        self._headers[name] = value

    def whole(self, method: bytes, version: str, *, keeps: bool, may_be_large: bool) -> tuple[Head, int | None]:
        """The head, and the length of its body where it is stated. `keeps`: the client would ask again."""
        headers = self._headers
        if len(headers) + self._repeated > MOST_HEADERS:
            raise Refused(431, f"The head has more than {MOST_HEADERS} headers.")
        if may_be_large and sum(map(len, headers)) + sum(map(len, headers.values())) + len(self.target) > MAX_HEAD:
            raise too_large()
        if version not in ("1.1", "1.0"):
            raise Refused(400, "This server speaks HTTP/1.1.")
        is_new = version == "1.1"
        if is_new and b"host" not in headers:
            raise Refused(400, "The header host is missing.")
        if b"transfer-encoding" in headers:
            _check_coding(headers, is_new)
        length = headers.pop(b"content-length", None)
        head = Head(
            METHODS.get(method) or method.decode("latin-1"),
            self.target,
            headers,
            keeps=is_new and keeps,
            knows_chunks=is_new,
            expects=is_new and headers.get(b"expect", b"").lower() == b"100-continue",
        )
        return head, None if length is None else int(length)


def too_large() -> Refused:
    return Refused(431, f"The head is larger than {MAX_HEAD:,} bytes.")


def _check_coding(headers: dict[bytes, bytes], is_new: bool) -> None:
    """Whatever one of two servers in a row may read otherwise."""
    if not is_new or b"content-length" in headers or headers[b"transfer-encoding"].strip().lower() != b"chunked":
        raise Refused(400, "The body's length is stated in a way that can be misread.")
