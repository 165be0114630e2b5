"""Django with a view that does nothing and no middleware: what the framework itself costs.

Its own settings module and its own urls.
"""

from django.http import HttpRequest, HttpResponse
from django.urls import path

SECRET_KEY = "only-for-this-benchmark"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = __name__
MIDDLEWARE: list[str] = []
LOGGING_CONFIG = None

ANSWER = b'{"quotes":{' + b" " * 2_600 + b"}}"  # as long as twenty quotes


def latest_quotes(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ANSWER, content_type="application/json")


urlpatterns = [path("v2/stocks/quotes/latest", latest_quotes)]
