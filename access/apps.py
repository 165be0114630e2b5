from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from access import lookups
        from access.api import schemes  # noqa: F401  registers itself

        lookups.watch_changes()
