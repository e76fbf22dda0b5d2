"""Verifies a request that a rule of a cell has sent, with the package http-message-signatures 3.

    python verify_relay.py REQUEST_FILE URL CERTS_FILE CELL_URL

The first file is the request as it arrived, the second the answer of {cell}__certs. Prints `valid` or the reason."""

import base64
import datetime
import json
import sys

from cryptography.hazmat.primitives.asymmetric import rsa
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

COVERED = ("@method", "@target-uri", "content-digest", "content-type")
MAX_AGE = datetime.timedelta(minutes=5)
seen_nonces = set()  # Shared by all processes of a receiver, and kept for MAX_AGE.


class Request:
    def __init__(self, method, url, headers):
        self.method, self.url, self.headers = method, url, headers


class CellKeys(HTTPSignatureKeyResolver):
    """The keys of one cell, as {cell}__certs shows them. A receiver fetches them by HTTPS, and again for an unknown key."""

    def __init__(self, cell_url, certs):
        self.cell_url, self.certs = cell_url, certs

    def resolve_public_key(self, key_id):
        certs_url, _, kid = key_id.partition("#")
        if certs_url != self.cell_url + "__certs":
            return None  # The key of another cell.
        for key in self.certs["keys"]:
            if key["kid"] == kid:
                number = lambda text: int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")
                return rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
        return None


def verify(request, body, keys):
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.RSA_V1_5_SHA256, key_resolver=keys)
    # The digest of the body is compared, too.
    results = verifier.verify(
        request, max_age=MAX_AGE, expect_tag="personium-relay", require_components=COVERED, body=body
    )
    for result in results:
        if result.nonce in seen_nonces:
            raise ValueError("the request was repeated")
        seen_nonces.add(result.nonce)


if __name__ == "__main__":
    request_file, url, certs_file, cell_url = sys.argv[1:]
    head, _, body = open(request_file, "rb").read().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    request = Request(first.split(" ")[0], url, headers)
    with open(certs_file) as certs:
        keys = CellKeys(cell_url, json.load(certs))
    try:
        verify(request, body, keys)
        print("valid")
    except Exception as error:
        print("refused:", error)
