"""The answer to a write that was carried out and whose own answer was lost, by a crash in between.

It is made from what the request recorded and from what there is now: an order may have filled
meanwhile. Most requests are one transaction, so all of it is done. Those over all orders or all
positions are many, and may have stopped half-way: canceling is carried on, over the orders that
were open at the call; positions that were not closed are left alone, for what was said of them
then may not hold now.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request

from access.api.accounts import account_json, own_account, transfer_json
from access.api.serializers import NewTransfer
from access.errors import AnswerLost
from events import log
from events.errors import NotFound
from events.idempotency import KeyTaken
from events.models import Event, IdempotencyKey
from portfolios.configurations import configuration
from portfolios.queries import get_account
from portfolios.watchlists import get_watchlist
from portfolios.wire import watchlist_json
from quotes import market
from quotes.api.control import To, market_json
from quotes.ticks import to_micros
from trading import orders, queries, states
from trading.errors import OrderFinished, OrderForced
from trading.models import Order
from trading.wire import EVENT_KIND, order_json

Answer = tuple[int, Any]  # status, and what becomes the body; None is an empty one

# Whoever asks for all orders or positions within this time finds the first request still at work.
AT_WORK = timedelta(seconds=30)
EVENTS_MAX = 10_000  # of an account, after the first one of a request, that may be the request's
TRANSFERS = "/api/transfers"
ACCEPTED, CANCELED = f"{EVENT_KIND}accepted", f"{EVENT_KIND}canceled"


def rebuild(request: Request, done: IdempotencyKey, again: Callable[[], Any]) -> Answer:
    """Status and body for the request that `done` was the key of; `again` calls its view.

    Raises KeyTaken where it is still at work, AnswerLost where nothing tells what was answered.
    """
    if request.method == "POST" and CARRIED_ON.fullmatch(request.path):
        response = again()
        return response.status_code, response.data
    asked = request.method, request.path
    if asked in OVER_ALL:
        if done.created_at > datetime.now(UTC) - AT_WORK:
            raise KeyTaken
        return OVER_ALL[asked](request, done)
    changed, _, name = done.subject.partition(":")
    answer = BY_SUBJECT.get(changed)
    if answer is None:
        raise AnswerLost(subject=done.subject, event=done.kind)
    return answer(request, done, name)


def _account_id(request: Request) -> int:
    credential: Any = request.auth  # the same as the first time: it is part of the digest
    return int(credential.account_id)


def _order(request: Request, done: IdempotencyKey, name: str) -> Answer:
    if request.method == "DELETE" and request.path.startswith("/v2/orders/"):
        return 204, None
    order = queries.get_order(_account_id(request), UUID(name), nested=True)
    if request.method == "PATCH" and order.replaced_by is not None:
        newer = order.replaced_by.public_id
        order = queries.get_order(_account_id(request), newer, nested=True)
    return 200, order_json(order)


def _account(request: Request, done: IdempotencyKey, name: str) -> Answer:
    if done.kind == "portfolios.account.configured":
        return 200, configuration(get_account(_account_id(request)))
    if done.kind == "portfolios.account.opened":
        return 200, account_json(own_account(request, name), _account_id(request))
    if request.path == TRANSFERS:
        given = NewTransfer(data=request.data)
        given.is_valid(raise_exception=True)
        said = given.validated_data
        source = own_account(request, said["from_account"])
        target = own_account(request, said["to_account"])
        return 200, transfer_json(request, source, target, said["amount"])
    raise AnswerLost(subject=done.subject, event=done.kind)


def _watchlist(request: Request, done: IdempotencyKey, name: str) -> Answer:
    try:
        return 200, watchlist_json(get_watchlist(_account_id(request), UUID(name)))
    except NotFound:
        if request.method != "DELETE":
            raise
        return 204, None


def _api_key(request: Request, done: IdempotencyKey, name: str) -> Answer:
    if request.method == "DELETE":
        return 204, None
    raise AnswerLost(
        "this key was created, and its secret is shown only once: revoke it and create another",
        key_id=name,
    )


def _market(request: Request, done: IdempotencyKey, name: str) -> Answer:
    if done.kind != "quotes.market.advanced":
        return 200, market_json()
    given = To(data=request.data)
    given.is_valid(raise_exception=True)
    to_us = to_micros(given.validated_data["to"])
    settled_at = market.wait_until_settled(to_us, market.SETTLE_TIMEOUT_SECONDS)
    return 200, {"settled_at": settled_at}


def _all_canceled(request: Request, done: IdempotencyKey) -> Answer:
    """Cancel what is left of the orders that were open at the call, and name all that ended.

    Raises AccountBusy, Unavailable: then nothing is kept, and whoever asks again carries on.
    """
    account_id = _account_id(request)
    left = Order.objects.filter(account_id=account_id, status__in=states.CANCELABLE)
    left = left.filter(recorded_at__lte=done.created_at).order_by("pk")
    before = log.request_id.set(done.request_id)
    try:
        for order_id in left.values_list("public_id", flat=True):
            with contextlib.suppress(OrderFinished, OrderForced):  # beside us; not theirs to end
                orders.cancel(account_id=account_id, order_id=order_id, actor=done.principal)
    finally:
        log.request_id.reset(before)
    ended = _recorded(done).filter(kind=CANCELED).values_list("subject", flat=True)
    ids = [subject.partition(":")[2] for subject in ended]
    later = Order.objects.filter(public_id__in=ids, recorded_at__gt=_began_at(done))
    not_ours = set(map(str, later.values_list("public_id", flat=True)))
    return 207, [{"id": each, "status": 200} for each in ids if each not in not_ours]


def _all_closed(request: Request, done: IdempotencyKey) -> Answer:
    """The positions for which an order was accepted."""
    meanwhile = _recorded(done).filter(recorded_at__lte=_began_at(done) + AT_WORK)
    accepted = meanwhile.filter(kind=ACCEPTED).values_list("payload", flat=True)
    said = [update["order"] for update in accepted]
    return 207, [{"symbol": order["symbol"], "status": 200, "body": order} for order in said]


def _began_at(done: IdempotencyKey) -> datetime:
    """When the request made its first change: what it found was there by then."""
    first = Event.objects.get(account_id=done.account_id, account_sequence=done.account_sequence)
    return max(done.created_at, first.recorded_at)


def _recorded(done: IdempotencyKey) -> QuerySet[Event]:
    """What the request recorded, in its order; and others after it, of a client that names all of
    its requests alike."""
    first = done.account_sequence or 0
    near = Event.objects.filter(
        account_id=done.account_id, account_sequence__range=(first, first + EVENTS_MAX)
    )
    return near.filter(request_id=done.request_id).order_by("account_sequence")


OVER_ALL: dict[tuple[str | None, str], Callable[[Request, IdempotencyKey], Answer]] = {
    ("DELETE", "/v2/orders"): _all_canceled,
    ("POST", "/v2/account/stop"): _all_canceled,
    ("DELETE", "/v2/positions"): _all_closed,
}
# A reset may be done again, and goes on where it stopped: `access.accounts`.
CARRIED_ON = re.compile(r"/api/accounts/[^/]+/reset")
BY_SUBJECT: dict[str, Callable[[Request, IdempotencyKey, str], Answer]] = {
    "order": _order,
    "account": _account,
    "watchlist": _watchlist,
    "key": _api_key,
    "market": _market,
}
