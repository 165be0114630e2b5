"""`/v2/account`: the account of the credential, and its owner's choices."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portfolios.api import schemas
from portfolios.configurations import configuration, configure
from portfolios.queries import account_summary, get_account
from portfolios.wire import account_json


class AccountDetail(APIView):
    @extend_schema(
        operation_id="get_account", summary="The account, valued now", responses=schemas.Account
    )
    def get(self, request: Request) -> Response:
        account = get_account(request.auth.account_id)
        return Response(account_json(account, account_summary(account)))


class AccountConfigurations(APIView):
    @extend_schema(
        operation_id="get_account_configurations",
        summary="The owner's choices",
        responses=schemas.Configuration,
    )
    def get(self, request: Request) -> Response:
        return Response(configuration(get_account(request.auth.account_id)))

    @extend_schema(
        operation_id="change_account_configurations",
        summary="Change some of the owner's choices; null leaves one as it is",
        request=schemas.Configuration,
        responses=schemas.Configuration,
    )
    def patch(self, request: Request) -> Response:
        account = configure(
            account_id=request.auth.account_id, changes=dict(request.data), actor=request.auth.actor
        )
        return Response(configuration(account))
