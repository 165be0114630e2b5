"""Django as a WSGI application: pages, REST and admin; before it the short ways of what is hot."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django_application = get_wsgi_application()  # sets up the apps

from access.gate import gate  # noqa: E402
from config import api  # noqa: E402
from config.databases.health import primary_is_away  # noqa: E402
from config.databases.pinning import accounts_changed  # noqa: E402
from config.observability.answers import Counted  # noqa: E402
from config.observability.requests import request_name  # noqa: E402
from quotes.api import hot as hot_quotes  # noqa: E402
from trading.api import hot as hot_orders  # noqa: E402

orders = hot_orders.ShortWay(
    django_application,
    gate=gate,
    api=api,
    name_request=request_name,
    is_shut=primary_is_away,
    accounts_changed=accounts_changed,
)
application = Counted(hot_quotes.ShortWay(orders, gate=gate, name_request=request_name))
