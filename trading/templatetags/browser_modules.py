"""Hands the browser its modules under the names that the static storage gave them.

Modules import each other by plain relative paths. The storage may serve `format.js` as
`format.3f2a….js`; the import map says so, hence no bundler and no list to keep by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urljoin

from django import template
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

MODULES = Path(__file__).resolve().parent.parent / "static" / "trading" / "js"
# Libraries by the bare name that modules import; fetched at set-up, so one may be missing.
LIBRARIES = {"lightweight-charts": "vendor/lightweight-charts.mjs"}


@register.simple_tag
def import_map() -> SafeString:
    """The JSON of an import map: plain address → served address, and the libraries present."""
    imports = {urljoin(settings.STATIC_URL, name): served(name) for name in module_names()}
    imports |= {bare: served(name) for bare, name in LIBRARIES.items() if present(name)}
    return as_json({"imports": imports})


@register.simple_tag
def module_addresses() -> list[str]:
    """Where each module is served, so that the page can ask for all of them at once."""
    return [served(name) for name in module_names()]


@register.simple_tag
def vendored(name: str) -> str:
    """The address of a file fetched at set-up; empty where it could not be fetched."""
    name = f"vendor/{name}"
    return served(name) if present(name) else ""


def module_names() -> list[str]:
    return [f"trading/js/{path.name}" for path in sorted(MODULES.glob("*.js"))]


def served(name: str) -> str:
    return staticfiles_storage.url(name)


def present(name: str) -> bool:
    return bool(finders.find(name)) or staticfiles_storage.exists(name)


def as_json(value: object) -> SafeString:
    """JSON that cannot end the script element it stands in."""
    return mark_safe(json.dumps(value).replace("<", "\\u003c"))
