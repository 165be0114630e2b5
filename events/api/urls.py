from django.urls import path

from events.api.views import EventList

urlpatterns = [
    path("v2/events", EventList.as_view()),
]
