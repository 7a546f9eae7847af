"""Pages of other origins at the door: a browser on this machine must not become a way in."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path

import pytest
from running import Running, configured

from pointsman.gateway import Gateway
from pointsman.server import Application
from upstream import Upstream

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]})
UNGUARDED = {"/health", "/ready"}


def ask(server: Running, method: str, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of a request with a good key."""
    stated = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, path, BODY if method == "POST" else None, {**stated, **given})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


def every_route(server: Running) -> list[tuple[str, str]]:
    return sorted(Application(Gateway(server.home / "config-of-test.yaml")).routes)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null", "http://localhost"]
)
def test_no_route_answers_a_page_of_another_origin(server: Running, origin: str) -> None:
    """A page that got hold of a key, or tries without, could make calls on its visitor's machine."""
    for method, path in every_route(server):
        status, body, headers = ask(server, method, path, origin=origin)
        assert status == (200 if path in UNGUARDED else 403), path
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.fault(110, "403, except where `server.hosts` states the name.")
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8484", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(server: Running, host: str) -> None:
    """DNS rebinding: a page would seem to be of one origin with the server, and read what it answers."""
    for method, path in every_route(server):
        assert ask(server, method, path, host=host)[0] == (200 if path in UNGUARDED else 403), path


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:8484", "10.0.0.7", "me.localhost"]
)
def test_own_names_and_addresses_are_served(server: Running, host: str) -> None:
    """Tunnels and forwarded ports would be locked out."""
    assert ask(server, "POST", CHAT, host=host)[0] == 200
    assert ask(server, "POST", CHAT, host=host, origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("origin", ["app://chat", "vscode-webview://1a2b", "file://"])
def test_programs_that_are_no_web_page_are_served(server: Running, origin: str) -> None:
    """Desktop clients, which state an origin of their own kind, could not call."""
    assert ask(server, "POST", CHAT, origin=origin)[0] == 200


def test_a_stated_name_is_served_behind_a_proxy(upstream: Upstream, tmp_path: Path) -> None:
    """Whoever puts a proxy before the server would have to make it lie about its name."""
    config = configured(upstream.url).replace("server: {", "server: {hosts: [Points.Example], ")
    with Running(tmp_path / "home", config) as server:
        assert ask(server, "POST", CHAT, host="points.example", origin="https://points.example")[0] == 200
        assert ask(server, "POST", CHAT, origin="https://points.example")[0] == 200
        assert ask(server, "POST", CHAT, host="other.example")[0] == 403


def test_a_preflight_is_not_granted(server: Running) -> None:
    """A browser would let another page's call with a key through."""
    status, _, headers = ask(server, "OPTIONS", CHAT, origin="http://evil.example")
    assert status == 405 and not [name for name in headers if name.startswith("access-control")]


def test_curl_without_a_content_type_is_served_and_a_form_of_a_page_is_not(server: Running) -> None:
    """The shortest way to try the server would fail; or a form on any page could call."""
    form = "application/x-www-form-urlencoded"
    assert ask(server, "POST", CHAT, content_type=form)[0] == 200
    own = f"http://127.0.0.1:{server.port}"
    for signs in ({"origin": own}, {"sec_fetch_site": "cross-site"}):
        assert ask(server, "POST", CHAT, content_type=form, **signs)[0] == 400
    assert ask(server, "POST", CHAT, content_type="text/plain")[0] == 400
