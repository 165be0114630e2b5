"""The shapes of the keys' endpoints."""

from __future__ import annotations

from rest_framework import serializers


class NewKey(serializers.Serializer):
    name = serializers.CharField(
        default="", allow_blank=True, max_length=64, help_text="what the key is for"
    )


class Key(serializers.Serializer):
    key_id = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="to the hour")
    revoked_at = serializers.DateTimeField(allow_null=True)


class KeyWithSecret(Key):
    secret = serializers.CharField(help_text="shown in this answer and never again")
