"""Keys of the session's account.

A key cannot make keys: whoever stole one could never be shut out.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.api.serializers import Key, KeyWithSecret, NewKey
from access.authentication import HasAccount
from access.keys import create_key, revoke_key
from access.models import ApiKey
from access.queries import account_keys
from events.errors import Forbidden


class InSession(HasAccount):
    """Let in who is logged in as a person."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        if request.auth.key_id is not None:
            raise Forbidden("keys are managed from a login session")
        return True


class KeyList(APIView):
    permission_classes = [InSession]

    @extend_schema(
        operation_id="list_keys", summary="API keys of the account", responses=Key(many=True)
    )
    def get(self, request: Request) -> Response:
        return Response([_key_json(key) for key in account_keys(request.auth.account_id)])

    @extend_schema(
        operation_id="create_key",
        summary="Create an API key",
        request=NewKey,
        responses=KeyWithSecret,
    )
    def post(self, request: Request) -> Response:
        given = NewKey(data=request.data)
        given.is_valid(raise_exception=True)
        key, secret = create_key(
            account_id=request.auth.account_id,
            user=request.user,
            actor=request.auth.actor,
            **given.validated_data,
        )
        return Response({**_key_json(key), "secret": secret})


class KeyDetail(APIView):
    permission_classes = [InSession]

    @extend_schema(
        operation_id="revoke_key", summary="Revoke an API key for good", responses={204: None}
    )
    def delete(self, request: Request, key_id: str) -> Response:
        revoke_key(account_id=request.auth.account_id, key_id=key_id, actor=request.auth.actor)
        return Response(status=204)


def _key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
