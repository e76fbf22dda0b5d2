"""Everything that authlib can do with a cell. Given: the cell, the application (its id, secret and schema), another
application, an account with its password, and a file that the account may read."""

import json
import os
import sys
import time
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

# The unit of the test has no TLS.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.core import CodeIDToken, ImplicitIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc import jwt
from joserfc.jwk import KeySet

given = json.loads(sys.argv[1])
cell, app, other = given["cell"], given["app"], given["other"]
redirect_uri = app["id"] + "__/callback"


class Form(HTMLParser):
    """The first form of a page: where it goes and what it holds."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form" and self.action is None:
            assert a["method"] == "post", a
            self.action = a["action"]
        elif tag == "input":
            self.fields[a["name"]] = a.get("value", "")


def refused(error, call):
    """The call must be refused with this OAuth error."""
    try:
        token = call()
    except OAuthError as refusal:
        assert refusal.error == error, (refusal.error, refusal.description)
        return
    raise AssertionError(f"not refused with {error}: {token}")


def session(who=app, method="client_secret_basic", **more):
    return OAuth2Session(
        who["id"],
        who["secret"],
        token_endpoint_auth_method=method,
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
        **more,
    )


def reads_the_file(token):
    answer = requests.get(given["file"], headers={"Authorization": f"Bearer {token}"})
    return answer.status_code == 200 and answer.text == given["content"]


# Discovery.
metadata = requests.get(get_well_known_url(cell, external=True)).json()
OpenIDProviderMetadata(metadata).validate()
AuthorizationServerMetadata(metadata).validate()
assert metadata["issuer"] == cell, metadata
token_url = metadata["token_endpoint"]
keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"]).json())
print("discovery")


# The password, with each way for an application to prove itself, and without one.
credentials = {"username": given["username"], "password": given["password"]}
methods = metadata["token_endpoint_auth_methods_supported"]
assert "none" in methods, methods
for method in (method for method in methods if method != "none"):
    client = session(method=method)
    token = client.fetch_token(token_url, **credentials)
    assert token["token_type"] == "Bearer" and token["expires_in"] == 3600, token
    assert reads_the_file(token["access_token"]), method
    assert client.get(given["file"]).status_code == 200
alone = OAuth2Session("", token_endpoint_auth_method="none")
own = alone.fetch_token(token_url, **credentials)
assert reads_the_file(own["access_token"])
refused("unsupported_grant_type", lambda: session().fetch_token(token_url, grant_type="client_credentials"))
refused("invalid_client", lambda: session(dict(app, secret="wrong")).fetch_token(token_url, **credentials))
refused("invalid_client", lambda: session(dict(app, secret=other["secret"])).fetch_token(token_url, **credentials))
print("password")

# Refreshing: new tokens, for the same application only.
first = dict(client.token)
second = client.refresh_token(token_url)
assert second["access_token"] != first["access_token"]
assert second["refresh_token"] != first["refresh_token"]
assert reads_the_file(second["access_token"])
refused("invalid_client", lambda: session(other).refresh_token(token_url, refresh_token=second["refresh_token"]))
refused("invalid_grant", lambda: session().refresh_token(token_url, refresh_token=second["access_token"]))
refused("invalid_grant", lambda: session().refresh_token(token_url, refresh_token="RR~nonsense"))
print("refresh")


def login(url, password=given["password"], **changed):
    """Fills in the login form as a browser does. Gives where the browser is sent."""
    browser = requests.Session()
    page = browser.get(url)
    assert page.status_code == 200 and "text/html" in page.headers["Content-Type"], page.text
    form = Form(page.text)
    fields = dict(form.fields, username=given["username"], password=password, **changed)
    answer = browser.post(form.action, data=fields, allow_redirects=False)
    assert answer.status_code == 303, (answer.status_code, answer.text)
    return answer.headers["Location"]


def begun(scope="openid", **more):
    """A client that has sent its user to log in: with its verifier and the URL."""
    client = session(scope=scope, **more)
    verifier = generate_token(48)
    nonce = generate_token()
    url, state = client.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
    )
    client.state = state
    return client, verifier, nonce, url


# The code, bound to state, verifier, application and redirect URI.
client, verifier, nonce, url = begun()
back = login(url)
assert back.startswith(redirect_uri + "?"), back
token = client.fetch_token(token_url, authorization_response=back, code_verifier=verifier)
assert set(token["scope"].split()) == {"openid"}, token
assert reads_the_file(token["access_token"])
id_token = jwt.decode(token["id_token"], keys, algorithms=["RS256"])
assert id_token.header["kid"] in [key.kid for key in keys.keys], id_token.header
claims = CodeIDToken(
    id_token.claims,
    id_token.header,
    {"iss": {"essential": True, "values": [cell]}, "aud": {"essential": True, "values": [app["id"]]}},
    {"nonce": nonce, "client_id": app["id"], "access_token": token["access_token"]},
)
claims.validate()
assert claims["sub"] == given["username"], claims
# It says who it is from later on too, and signed by nobody else.
head, body, signature = token["id_token"].split(".")
for forged in [
    f"{head}.{body}.{signature[:-4]}AAAA",
    f"{head}.{body[:-4]}AAAA.{signature}",
    f"eyJhbGciOiJub25lIn0.{body}.",
]:
    try:
        jwt.decode(forged, keys, algorithms=["RS256"])
    except Exception:
        continue
    raise AssertionError(forged)

for wrong in [generate_token(48), None]:
    client, verifier, _, url = begun()
    back = login(url)
    more = {"code_verifier": wrong} if wrong else {}
    refused("invalid_grant", lambda: client.fetch_token(token_url, authorization_response=back, **more))
    assert client.fetch_token(token_url, authorization_response=back, code_verifier=verifier)
refused("invalid_client", lambda: session(other, state=client.state).fetch_token(
    token_url, authorization_response=back, code_verifier=verifier))
refused("invalid_grant", lambda: client.fetch_token(
    token_url, authorization_response=back, code_verifier=verifier, redirect_uri=redirect_uri + "2"))
try:
    session(state="another").fetch_token(token_url, authorization_response=back, code_verifier=verifier)
    raise AssertionError("the state was not sent back as it was")
except Exception as refusal:
    assert "state" in type(refusal).__name__.lower() or "state" in str(refusal).lower(), refusal
print("code")

# A wrong password leads back to the form, cancelling to the application.
_, _, _, url = begun()
back = login(url, password="wrong-one")
assert back.startswith(metadata["authorization_endpoint"]) and "PS-AU-0004" in back, back
assert "PS-AU-0004" not in requests.get(back).text and requests.get(back).status_code == 200
client, verifier, _, url = begun()
back = login(url, cancel_flg="true")
assert parse_qs(urlsplit(back).query)["error"] == ["unauthorized_client"], back
print("form")
# The account is closed for a second after the wrong password.
time.sleep(1.5)

# The implicit flow.
client = session(scope="openid", response_type="token")
url, state = client.create_authorization_url(metadata["authorization_endpoint"])
client.state = state
back = login(url)
token = client.fetch_token(authorization_response=back)
assert reads_the_file(token["access_token"]), back
client = session(scope="openid", response_type="id_token")
nonce = generate_token()
url, state = client.create_authorization_url(metadata["authorization_endpoint"], nonce=nonce)
fragment = parse_qs(urlsplit(login(url)).fragment)
assert fragment["state"] == [state], fragment
id_token = jwt.decode(fragment["id_token"][0], keys, algorithms=["RS256"])
ImplicitIDToken(
    id_token.claims,
    id_token.header,
    {"iss": {"values": [cell]}, "aud": {"values": [app["id"]]}},
    {"nonce": nonce, "client_id": app["id"]},
).validate()
print("implicit")

# Introspection (RFC 7662): an application sees its own tokens and no others.
introspect = metadata["introspection_endpoint"]
client = session()
token = client.fetch_token(token_url, **credentials)


def seen(who, text, hint=None):
    answer = session(who).introspect_token(introspect, token=text, token_type_hint=hint)
    assert answer.status_code == 200, answer.text
    return answer.json()


introspected = seen(app, token["access_token"], "access_token")
assert introspected["active"] is True and introspected["client_id"] == app["schema"], introspected
assert introspected["iss"] == cell and introspected["sub"] == f"{cell}#{given['username']}", introspected
assert introspected["exp"] - introspected["iat"] == 3600, introspected
introspected = seen(app, token["refresh_token"], "refresh_token")
assert introspected["active"] is True and introspected["exp"] - introspected["iat"] == 86400, introspected
for nothing in ["AR~nonsense", "nonsense", token["access_token"][:-2], own["access_token"]]:
    assert seen(app, nothing) == {"active": False}, nothing
assert seen(other, token["access_token"]) == {"active": False}
for method in metadata["introspection_endpoint_auth_methods_supported"]:
    asking = session(method=method)
    assert asking.introspect_token(introspect, token=token["access_token"]).json()["active"] is True, method
    asking = session(dict(app, secret="wrong"), method)
    assert asking.introspect_token(introspect, token=token["access_token"]).status_code == 403, method
denied = requests.post(introspect, data={"token": token["access_token"]})
assert denied.status_code == 401 and "WWW-Authenticate" in denied.headers, denied.text
print("introspection")
print(json.dumps({"done": True}))
