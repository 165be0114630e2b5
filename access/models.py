"""API keys: how programs prove who they are."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.db import models

from portfolios.models import Account


def hash_secret(secret: str) -> str:
    """The form in which a secret is stored."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


class ApiKey(models.Model):
    """A key id and the hash of its secret, for one account. The secret itself is shown once.

    The secret is 256 random bits, so an unsalted SHA-256 is as safe as a slow hash and costs
    microseconds where every request pays it.
    """

    key_id = models.CharField(max_length=32, unique=True)
    secret_hash = models.CharField(max_length=64)
    account = models.ForeignKey(Account, models.PROTECT, related_name="api_keys")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        indexes = [models.Index(fields=["revoked_at"], name="api_key_revoked_at")]

    def __str__(self) -> str:
        return self.key_id
