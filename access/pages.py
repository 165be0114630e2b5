"""The page of a user's accounts: choose one to trade, open another, move cash, begin anew.

It does what `access.api.accounts` does, with the same use cases, and needs no script. Each form
names the account it was shown for: the session may act for another one by the time it is sent. One
that would do more when it is sent twice, as by a second click, has a number and is done once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from access.accounts import reset_own_account
from access.authentication import authenticate_session
from access.forms import MarginForm, OpenForm, ResetForm, TransferForm
from events import idempotency
from events.errors import OpenbellError
from events.idempotency import KeyTaken
from portfolios.accounts import open_another_account, transfer
from portfolios.configurations import configuration, configure
from portfolios.errors import AccountClosed, AccountNotFound
from portfolios.models import Account
from portfolios.queries import get_account, users_account, users_accounts
from trading.kill_switch import stop_trading
from trading.views import market

Do = Callable[[HttpRequest], forms.Form | None]


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def accounts(request: HttpRequest) -> HttpResponse:
    """Show the accounts, or do what one of the page's forms asks for and show them again."""
    if request.method == "GET":
        return _page(request)
    done = DOES.get(request.POST.get("do", ""))
    if done is None:
        return _page(request, why="the page does not know what to do")
    try:
        wrong = done(request)
    except OpenbellError as error:
        return _page(request, why=error.message)
    return redirect("accounts") if wrong is None else _page(request, wrong=wrong)


def _once(do: Do) -> Do:
    """The same, but nothing where this very form was sent before, or is being carried out."""

    def done(request: HttpRequest) -> forms.Form | None:
        number, said = request.POST.get("number", ""), request.POST.urlencode()
        with contextlib.suppress(KeyTaken), idempotency.form_of(_actor(request), number, said):
            return do(request)
        return None

    return done


def _choose(request: HttpRequest) -> None:
    chosen = _named(request)
    if chosen.status != Account.Status.ACTIVE:
        raise AccountClosed(account_number=chosen.number)
    request.session["account_id"] = chosen.pk


def _open(request: HttpRequest) -> forms.Form | None:
    form = OpenForm(request.POST, prefix="open")
    if not form.is_valid():
        return form
    open_another_account(user=request.user, actor=_actor(request), **form.cleaned_data)
    return None


def _transfer(request: HttpRequest) -> forms.Form | None:
    form = TransferForm(request.POST, prefix="transfer", accounts=_active(request))
    if not form.is_valid():
        return form
    given = form.cleaned_data
    transfer(
        source_id=_own(request, given["source"]).pk,
        target_id=_own(request, given["target"]).pk,
        amount=given["amount"],
        actor=_actor(request),
    )
    return None


def _margin(request: HttpRequest) -> forms.Form | None:
    form = MarginForm(request.POST, prefix="margin")
    if not form.is_valid():
        return form
    _configure(request, form.cleaned_data)
    return None


def _stop(request: HttpRequest) -> None:
    account = _named(request)
    stop_trading(account_id=account.pk, actor=_actor(request), reason="by its user")


def _resume(request: HttpRequest) -> None:
    _configure(request, {"suspend_trade": False})


def _configure(request: HttpRequest, changes: dict[str, object]) -> None:
    configure(account_id=_named(request).pk, changes=changes, actor=_actor(request))


def _reset(request: HttpRequest) -> forms.Form | None:
    form = ResetForm(request.POST, prefix="reset")
    if not form.is_valid():
        return form
    reset_own_account(
        request.session,
        account_id=_named(request).pk,
        acts_for=_current(request),
        cash=form.cleaned_data["cash"],
        actor=_actor(request),
    )
    return None


# What a form asks for, by the value of its button; a form comes back where it is not filled in.
DOES: dict[str, Do] = {
    "choose": _choose,
    "open": _once(_open),
    "transfer": _once(_transfer),
    "margin": _margin,
    "stop": _stop,
    "resume": _resume,
    "reset": _reset,
}


def _page(request: HttpRequest, *, why: str = "", wrong: forms.Form | None = None) -> HttpResponse:
    """The page, with a sentence why nothing was done, or with the form that is not filled in."""
    account = _shown(request)
    shown: dict[str, forms.Form] = {
        "margin": MarginForm(prefix="margin", initial=configuration(account) if account else None),
        "open": OpenForm(prefix="open"),
        "reset": ResetForm(prefix="reset"),
        "transfer": TransferForm(prefix="transfer", accounts=_active(request)),
    }
    if wrong is not None:
        assert isinstance(wrong.prefix, str)
        shown[wrong.prefix] = wrong
    context: dict[str, Any] = {
        "accounts": users_accounts(_user_id(request)),
        "account": account,
        "current": _current(request),
        "forms": shown,
        "number": uuid4(),
        "why": why,
        **market(),
    }
    status = 422 if why or wrong is not None else 200
    return render(request, "access/accounts.html", context, status=status)


def _shown(request: HttpRequest) -> Account | None:
    """The account of the forms: the one asked for, else the one the session acts for.

    What was refused is shown with the account it was asked for, so sending it again means the same.
    """
    asked = request.POST.get("account") or request.GET.get("account")
    if asked:
        with contextlib.suppress(AccountNotFound):
            return _own(request, asked)
    current = _current(request)
    return None if current is None else get_account(current)


def _active(request: HttpRequest) -> list[Account]:
    found = users_accounts(_user_id(request))
    return [account for account in found if account.status == Account.Status.ACTIVE]


def _named(request: HttpRequest) -> Account:
    """The user's account that the form was shown for. Raises AccountNotFound."""
    return _own(request, request.POST.get("account", ""))


def _own(request: HttpRequest, public_id: UUID | str) -> Account:
    try:
        return users_account(_user_id(request), UUID(str(public_id)))
    except ValueError:
        raise AccountNotFound from None


def _current(request: HttpRequest) -> int | None:
    """The account that the session acts for."""
    found = authenticate_session(request.session)
    return None if found is None else found[1].account_id


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None, "only who is logged in comes here"
    return int(request.user.pk)


def _actor(request: HttpRequest) -> str:
    return f"user:{_user_id(request)}"
