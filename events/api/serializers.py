"""The shapes of the event log's endpoint."""

from __future__ import annotations

from rest_framework import serializers

EVENTS_MAX = 1000


class EventQuery(serializers.Serializer):
    since = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=2**63 - 1,
        help_text="the last `account_sequence` you have",
    )
    limit = serializers.IntegerField(default=100, min_value=1, max_value=EVENTS_MAX)


class EventAnswer(serializers.Serializer):
    account_sequence = serializers.IntegerField(help_text="gap-free within the account")
    kind = serializers.CharField()
    subject = serializers.CharField()
    actor = serializers.CharField()
    request_id = serializers.CharField(help_text="the X-Request-ID behind it; may be empty")
    at = serializers.DateTimeField(allow_null=True, help_text="market time")
    recorded_at = serializers.DateTimeField(help_text="wall time")
    payload = serializers.DictField()
    sequence = serializers.IntegerField(
        allow_null=True, help_text="its place among all events, a moment later"
    )
    hash = serializers.CharField(allow_null=True, help_text="its link of the hash chain")
