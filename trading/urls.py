"""The pages of the browser: the screen and the doors to it."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from trading import views

urlpatterns = [
    path("", views.screen, name="screen"),
    path("login", views.LogIn.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("signup", views.sign_up, name="signup"),
    path("accounts/open", views.open_first_account, name="open-account"),
]
