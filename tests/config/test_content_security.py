"""The policy that keeps foreign scripts out of our pages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from config.content_security import HEADER, ContentSecurityPolicy


def answer_of(view) -> HttpResponse:
    return ContentSecurityPolicy(view)(RequestFactory().get("/"))


def test_a_page_that_uses_its_nonce_may_run_that_script():
    def page(request: HttpRequest) -> HttpResponse:
        assert str(request.csp_nonce) == str(request.csp_nonce)
        return HttpResponse(str(request.csp_nonce))

    answer = answer_of(page)

    assert f"script-src 'self' 'nonce-{answer.content.decode()}';" in answer.headers[HEADER]


def test_nonces_are_used_once():
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.csp_nonce))

    assert answer_of(page).content != answer_of(page).content


def test_other_answers_allow_no_inline_script():
    policy = answer_of(lambda request: HttpResponse()).headers[HEADER]

    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_policy_of_the_view_stands():
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={HEADER: "default-src 'none'"})

    assert answer_of(page).headers[HEADER] == "default-src 'none'"
