"""The account's own log: what a client that missed something fetches."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.api.serializers import EventAnswer, EventQuery
from events.queries import account_events

FIELDS = (
    "account_sequence",
    "kind",
    "subject",
    "actor",
    "request_id",
    "at",
    "recorded_at",
    "payload",
    "sequence",
    "hash",
)


class EventList(APIView):
    @extend_schema(
        operation_id="list_events",
        summary="Events of the account after a number",
        description="All that changed the account, in order and without gaps. Ask again with "
        "the last `account_sequence` you have; an empty answer says that there is no more yet.",
        parameters=[EventQuery],
        responses=EventAnswer(many=True),
    )
    def get(self, request: Request) -> Response:
        query = EventQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        events = account_events(request.auth.account_id, **query.validated_data)
        return Response(list(events.values(*FIELDS)))
