"""The accounts of a user: list, open, choose, reset, and cash between them.

A key is for one account, so all but the list takes a login session.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.accounts import reset_own_account
from access.api.serializers import (
    AccountChoice,
    NewAccount,
    NewBook,
    NewTransfer,
    OwnAccount,
    Transfer,
)
from access.api.views import InSession
from access.authentication import HasAccount
from portfolios.accounts import open_another_account, transfer
from portfolios.errors import AccountClosed, AccountNotFound
from portfolios.models import Account
from portfolios.queries import users_account, users_accounts
from quotes.amounts import plain


class AccountList(APIView):
    @extend_schema(
        operation_id="list_accounts",
        summary="The user's accounts, open ones first",
        responses=OwnAccount(many=True),
    )
    def get(self, request: Request) -> Response:
        current = request.auth.account_id
        found = users_accounts(request.auth.user_id)
        return Response([account_json(account, current) for account in found])

    @extend_schema(
        operation_id="open_account",
        summary="Open another account",
        request=NewAccount,
        responses=OwnAccount,
    )
    def post(self, request: Request) -> Response:
        given = _given(NewAccount, request)
        opened = open_another_account(user=request.user, actor=request.auth.actor, **given)
        return Response(account_json(opened, request.auth.account_id))

    def get_permissions(self) -> list[Any]:
        return [InSession() if self.request.method == "POST" else HasAccount()]


class ChosenAccount(APIView):
    permission_classes = [InSession]

    @extend_schema(
        operation_id="choose_account",
        summary="Let the login session act for another of the user's accounts",
        request=AccountChoice,
        responses=OwnAccount,
    )
    def put(self, request: Request) -> Response:
        chosen = own_account(request, _given(AccountChoice, request)["account_id"])
        if chosen.status != Account.Status.ACTIVE:
            raise AccountClosed(account_number=chosen.number)
        request._request.session["account_id"] = chosen.pk
        return Response(account_json(chosen, chosen.pk))


class AccountReset(APIView):
    permission_classes = [InSession]

    @extend_schema(
        operation_id="reset_account",
        summary="Begin anew: orders are canceled, the book is closed, keys move to a fresh one",
        request=NewBook,
        responses=OwnAccount,
    )
    def post(self, request: Request, account_id: str) -> Response:
        old = own_account(request, account_id)
        session = request._request.session
        new = reset_own_account(
            session,
            account_id=old.pk,
            acts_for=request.auth.account_id,
            actor=request.auth.actor,
            **_given(NewBook, request),
        )
        return Response(account_json(new, session.get("account_id")))


class TransferList(APIView):
    permission_classes = [InSession]

    @extend_schema(
        operation_id="transfer_cash",
        summary="Move cash between two of the user's accounts",
        request=NewTransfer,
        responses=Transfer,
    )
    def post(self, request: Request) -> Response:
        given = _given(NewTransfer, request)
        source, target = transfer(
            source_id=own_account(request, given["from_account"]).pk,
            target_id=own_account(request, given["to_account"]).pk,
            amount=given["amount"],
            actor=request.auth.actor,
        )
        return Response(transfer_json(request, source, target, given["amount"]))


def own_account(request: Request, public_id: UUID | str) -> Account:
    """The account of that id, if it is the user's. Raises AccountNotFound."""
    try:
        wanted = UUID(str(public_id))
    except ValueError:
        raise AccountNotFound from None
    return users_account(request.auth.user_id, wanted)


def _given(shape: type[Any], request: Request) -> dict[str, Any]:
    serializer = shape(data=request.data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def transfer_json(
    request: Request, source: Account, target: Account, amount: Decimal
) -> dict[str, Any]:
    """A transfer's answer; the accounts are as they are after it."""
    current = request.auth.account_id
    return {
        "amount": plain(amount),
        "from_account": account_json(source, current),
        "to_account": account_json(target, current),
    }


def account_json(account: Account, current: int | None) -> dict[str, Any]:
    """One of the user's accounts; `current` is the one that the credential acts for."""
    successor = account.successor
    return {
        "id": str(account.public_id),
        "account_number": account.number,
        "name": account.name,
        "status": account.status,
        "cash": plain(account.cash),
        "created_at": account.created_at,
        "is_current": account.pk == current,
        "successor": None if successor is None else str(successor.public_id),
    }
