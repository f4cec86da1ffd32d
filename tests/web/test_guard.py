"""Who may ask: hosts, sites, tokens; and what every answer carries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ecgvision.web
from ecgvision.errors import UsageError
from ecgvision.web.settings import Settings, host_names
from tests.web.conftest import PDF, Site, running

STATIC = Path(ecgvision.web.__file__).with_name("static")


def test_every_answer_forbids_other_hosts_and_inline_code(site: Site) -> None:
    paths = ["/", "/app.js", "/healthz", "/api/about", "/nothing", "/api/reports/none"]
    for path in paths:
        headers = site.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_page_names_no_other_host() -> None:
    files = [path for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css", ".svg")]
    assert len(files) > 8
    for path in files:
        text = path.read_text(encoding="utf-8")
        hosts = set(re.findall(r"(?:https?:)?//([\w.-]+\.[a-z]{2,})", text))
        assert hosts <= {"www.w3.org"}, path.name  # the name of SVG, which nobody fetches
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|\sstyle=", page)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_other_hosts_are_refused(site: Site, host: str) -> None:
    reply = site.ask("GET", "/api/about", headers={"Host": host})
    assert (reply.status, reply.json["code"]) == (400, "host-unknown")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused(site: Site, headers: dict[str, str]) -> None:
    told = {"Content-Type": PDF, **headers}
    reply = site.ask("POST", "/api/predict", b"%PDF-", told)
    assert (reply.status, reply.json["code"]) == (403, "origin-foreign")
    assert site.ask("GET", "/api/about", headers=headers).status == 403


def test_the_own_page_may_ask(site: Site) -> None:
    headers = {"Origin": site.url, "Sec-Fetch-Site": "same-origin", "Content-Type": PDF}
    reply = site.ask("POST", "/api/predict", b"%PDF-1.7", headers)
    assert reply.json["code"] == "pdf-damaged"
    assert site.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site"}).status == 200  # a link


def test_a_token_guards_all_that_comes_of_reports(tmp_path: Path) -> None:
    with running(Settings(token="secret-of-this-test"), tmp_path) as site:
        for path in ("/healthz", "/", "/style.css"):
            assert site.ask("GET", path, headers={"Authorization": "none"}).status == 200
        for given in ("none", "Bearer wrong", "Bearer secret-of-this-test-and-more", "Bearer é"):
            reply = site.ask("GET", "/api/about", headers={"Authorization": given})
            assert (reply.status, reply.json["code"]) == (401, "token-missing")
        assert site.get("/api/about").status == 200


def test_methods_and_places_that_are_not_there(site: Site) -> None:
    assert site.get("/nowhere").json["code"] == "not-found"
    assert site.ask("PUT", "/api/about").json["code"] == "method-not-allowed"
    for path in ("/../settings.py", "/%2e%2e/settings.py", "/lang/..%2f..%2fapp.py"):
        assert site.get(path).status == 404


def test_hosts_must_be_told_where_they_cannot_be_known() -> None:
    assert host_names("127.0.0.1", ()) == ("localhost", "127.0.0.1", "[::1]")
    assert "192.0.2.7" in host_names("192.0.2.7", ())
    assert "ecg.example" in host_names("0.0.0.0", ("ecg.example",))
    with pytest.raises(UsageError, match="--allow-host"):
        host_names("0.0.0.0", ())
    with pytest.raises(UsageError, match="without scheme"):
        host_names("127.0.0.1", ("http://ecg.example",))
