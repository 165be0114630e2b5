"""The pages a person sees: the trading screen, and the doors to it.

The screen is rendered once and then lives on the public REST API and the two streams, like any
other client; nothing here computes a number that those do not give.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portfolios import accounts
from portfolios.accounts import STARTING_CASH
from portfolios.models import Account
from quotes.clock import market_clock
from trading.forms import LogInForm, SignUpForm

# What the data is, in the word that title, badge and favicon carry.
ENVIRONMENTS = {
    "live": "LIVE DATA",
    "simulated": "SIMULATED",
    "replay": "REPLAY",
    "stepped": "STEPPED",
}


@never_cache
@require_GET
def screen(request: HttpRequest) -> HttpResponse:
    """The trading screen; the front door for who is not logged in."""
    if not request.user.is_authenticated:
        return render(request, "trading/login.html", {"form": LogInForm(), **market()})

    account = shown_account(request)
    if account is None:
        return render(request, "trading/open_account.html", offer())
    return render(request, "trading/screen.html", {"account": account, **market()})


class LogIn(LoginView):
    """Log in and go on to the screen."""

    template_name = "trading/login.html"
    authentication_form = LogInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | market()


@never_cache
@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make a user with a funded paper account, and log them in."""
    if request.user.is_authenticated:
        return redirect("screen")

    form = SignUpForm(request.POST or None)
    if not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "trading/signup.html", {"form": form, **offer()}, status=status)

    user = form.save()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    accounts.open_account(user=user, cash=STARTING_CASH, actor=f"user:{user.pk}")
    return redirect("screen")


@login_required
@require_POST
def open_first_account(request: HttpRequest) -> HttpResponse:
    """Give a user without an account a funded one; a second press changes nothing."""
    accounts.open_first_account(
        user=request.user, cash=STARTING_CASH, actor=f"user:{request.user.pk}"
    )
    return redirect("screen")


def shown_account(request: HttpRequest) -> Account | None:
    """The account that the session has chosen, else the user's first.

    A closed one, too, for it is the one that the session's orders go to, and are refused by.
    """
    chosen = request.session.get("account_id", 0)
    own = Account.objects.filter(user=request.user.pk)
    return own.filter(pk=chosen).first() or first_account(request.user)


def first_account(user: Any) -> Account | None:
    """The account the screen trades: the user's oldest open one."""
    own = Account.objects.filter(user=user, status=Account.Status.ACTIVE)
    return own.order_by("pk").first()


def offer() -> dict[str, Any]:
    """What a new account starts with, and in which market."""
    return {"starting_cash": f"{STARTING_CASH:,}", **market()}


def market() -> dict[str, Any]:
    """How market time moves here, for the badge that every page carries."""
    clock = market_clock()
    mode = str(clock.mode)
    return {
        "market": {
            "mode": mode,
            "speed": clock.speed,
            "environment": ENVIRONMENTS.get(mode, mode.upper()),
            "badge": badge(mode, clock.speed),
        }
    }


def badge(mode: str, speed: float) -> str:
    """ "SIMULATED", or "REPLAY ×60" where market time runs at another pace than the wall's."""
    word = ENVIRONMENTS.get(mode, mode.upper())
    return f"{word} ×{speed:g}" if mode == "replay" else word
