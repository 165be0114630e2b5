"""Django as a WSGI application: pages, REST and admin; before it the short way of hot reads."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django_application = get_wsgi_application()  # sets up the apps

from access.gate import gate  # noqa: E402
from config.observability.requests import request_name  # noqa: E402
from quotes.api.hot import ShortWay  # noqa: E402

application = ShortWay(django_application, gate=gate, name_request=request_name)
