from django.urls import path, re_path

from access.api.accounts import AccountList, AccountReset, ChosenAccount, TransferList
from access.api.documentation import DocumentationPage, SchemaDocument
from access.api.views import KeyDetail, KeyList
from access.pages import accounts

urlpatterns = [
    path("accounts", accounts, name="accounts"),
    path("api/accounts", AccountList.as_view()),
    path("api/accounts/<str:account_id>/reset", AccountReset.as_view()),
    path("api/session/account", ChosenAccount.as_view()),
    path("api/transfers", TransferList.as_view()),
    path("api/keys", KeyList.as_view()),
    path("api/keys/<str:key_id>", KeyDetail.as_view()),
    # With and without the slash: nothing here ever redirects.
    re_path(r"^api/schema/?$", SchemaDocument.as_view(), name="schema"),
    re_path(r"^api/docs/?$", DocumentationPage.as_view(), name="documentation"),
]
