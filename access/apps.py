from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_login_failed

        from access import guessing, lookups
        from access.api import schemes  # noqa: F401  registers itself

        lookups.watch_changes()
        user_login_failed.connect(guessing.note_failure, dispatch_uid="access.guessing")
