"""What a program on requests-oauthlib does with a cell. Given: the cell, the application (its id and secret), an account with
its password, and a file that the account may read."""

import json
import os
import sys
from html.parser import HTMLParser

# The unit of the test has no TLS.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from oauthlib.oauth2 import LegacyApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session

given = json.loads(sys.argv[1])
cell, app = given["cell"], given["app"]
redirect_uri = app["id"] + "__/callback"
metadata = requests.get(cell + ".well-known/openid-configuration").json()
token_url = metadata["token_endpoint"]


class Form(HTMLParser):
    """The first form of a page: where it goes and what it holds."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = a["action"]
        elif tag == "input":
            self.fields[a["name"]] = a.get("value", "")


def reads_the_file(session):
    answer = session.get(given["file"])
    return answer.status_code == 200 and answer.text == given["content"]


def refused(error, call):
    """The call must be refused with this OAuth error."""
    try:
        token = call()
    except OAuth2Error as refusal:
        assert refusal.error == error, (refusal.error, refusal.description)
        return
    raise AssertionError(f"not refused with {error}: {token}")


# The password, with the application in the header and in the body.
credentials = {"username": given["username"], "password": given["password"]}
for in_body in [False, True]:
    session = OAuth2Session(client=LegacyApplicationClient(app["id"]))
    proof = {"client_secret": app["secret"], "include_client_id": True} if in_body else {"auth": (app["id"], app["secret"])}
    token = session.fetch_token(token_url, **credentials, **proof)
    assert token["token_type"].lower() == "bearer" and token["refresh_token"], token
    assert reads_the_file(session)
print("password")

# Refreshing.
before = session.token["access_token"]
session.refresh_token(token_url, auth=(app["id"], app["secret"]))
assert session.token["access_token"] != before
assert reads_the_file(session)
print("refresh")

# The code, with state and PKCE, through the login form.
session = OAuth2Session(app["id"], redirect_uri=redirect_uri, scope=["openid"], pkce="S256")
url, state = session.authorization_url(metadata["authorization_endpoint"])
browser = requests.Session()
form = Form(browser.get(url).text)
fields = dict(form.fields, username=given["username"], password=given["password"])
answer = browser.post(form.action, data=fields, allow_redirects=False)
assert answer.status_code == 303, (answer.status_code, answer.text)
back = answer.headers["Location"]
assert back.startswith(redirect_uri) and f"state={state}" in back, back
token = session.fetch_token(token_url, authorization_response=back, client_secret=app["secret"], include_client_id=True)
assert token["access_token"] and token["id_token"], token
assert reads_the_file(session)
# The code is bound to its verifier.
session = OAuth2Session(app["id"], redirect_uri=redirect_uri, scope=["openid"], pkce="S256")
url, state = session.authorization_url(metadata["authorization_endpoint"])
form = Form(browser.get(url).text)
fields = dict(form.fields, username=given["username"], password=given["password"])
back = browser.post(form.action, data=fields, allow_redirects=False).headers["Location"]
session._code_verifier = "x" * 48
proof = {"client_secret": app["secret"], "include_client_id": True}
refused("invalid_grant", lambda: session.fetch_token(token_url, authorization_response=back, **proof))
print("code")

# A wrong password, at the end: the next login would have to wait.
session = OAuth2Session(client=LegacyApplicationClient(app["id"]))
wrong = dict(credentials, password="wrong one", auth=(app["id"], app["secret"]))
refused("invalid_grant", lambda: session.fetch_token(token_url, **wrong))
print("wrong password")

print(json.dumps({"done": True}))
