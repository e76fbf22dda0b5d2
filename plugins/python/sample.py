"""A plugin that knows one password. What is true of a person is decided in `authenticate`."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.authenticator import Account, Field, Login, OauthError, Refusal


def value_of(fields: list[Field], name: str) -> str:
    return next((field.value for field in fields if field.name == name), "")


def is_equal(a: str, b: str) -> bool:
    """Compares in a time that does not depend on where the texts differ."""
    difference = 0
    for x, y in zip(a, b):
        difference |= ord(x) ^ ord(y)
    return len(a) == len(b) and difference == 0


class Authenticator(exports.Authenticator):
    def authenticate(self, request: Login) -> Account | None:
        name = value_of(request.fields, "sample_account")
        password = value_of(request.fields, "sample_password")
        expected = value_of(request.settings, "password")
        if not name or not password:
            raise Err(Refusal(OauthError.INVALID_REQUEST, "sample_account and sample_password are needed"))
        if not expected or not is_equal(password, expected):
            return None
        return Account(name, request.account_types[0])
