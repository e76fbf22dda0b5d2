"""Slack and the Security Token Service of AWS, behind a proxy (CONNECT). Given: `folder`, with `slack.crt`, `slack.key`, `sts.crt`
and `sts.key`, and `secret`, the secret key of AWS. Prints the port of the proxy. Requests are lines of `requests.jsonl`.

Signatures are verified as the reference of AWS says (Signature Version 4)."""

import hashlib
import hmac
import json
import pathlib
import re
import socket
import ssl
import sys
import threading
import urllib.parse

given = json.loads(sys.argv[1])
folder = pathlib.Path(given["folder"])
CREDENTIALS = """<Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>a&amp;b/c</SecretAccessKey>
  <SessionToken>token+/=</SessionToken><Expiration>2030-01-02T03:04:05Z</Expiration></Credentials>"""


def context(name):
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return made


HOSTS = {"slack.com": context("slack"), "sts.amazonaws.com": context("sts")}


def read_head(stream):
    line = stream.readline().decode().split()
    headers = {}
    while True:
        header = stream.readline().decode().strip()
        if not header:
            return line, headers
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()


def signature(headers, method, path, body):
    """Recomputes the signature of a request from what it says of itself."""
    said = dict(re.findall(r"(\w+)=([^, ]+)", headers["authorization"]))
    _, date, region, service, end = said["Credential"].split("/")
    names = said["SignedHeaders"].split(";")
    assert {"host", "x-amz-date"} <= set(names) and names == sorted(names)
    canonical = [method, path, ""] + [f"{name}:{headers[name]}" for name in names]
    canonical += ["", ";".join(names), hashlib.sha256(body).hexdigest()]
    scope = f"{date}/{region}/{service}/{end}"
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed])
    key = b"AWS4" + given["secret"].encode()
    for part in (date, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    right = (region, service, end) == ("us-east-1", "sts", "aws4_request") and headers["x-amz-date"].startswith(date)
    return right and hmac.compare_digest(expected, said["Signature"])


def sts(headers, line, body):
    if not signature(headers, line[0], line[1], body):
        error = "<Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>The signature does not match.</Message></Error>"
        return 403, f"<ErrorResponse>{error}<RequestId>r-1</RequestId></ErrorResponse>"
    fields = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
    result = CREDENTIALS
    if fields["Action"] == "GetFederationToken":
        user = f"<Arn>arn:aws:sts::1:federated-user/{fields['Name']}</Arn><FederatedUserId>1:{fields['Name']}</FederatedUserId>"
        result += f"<FederatedUser>{user}</FederatedUser><PackedPolicySize>6</PackedPolicySize>"
    action = fields["Action"]
    return 200, f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}</{action}Result></{action}Response>'


def serve(connection):
    line, proxy_headers = read_head(connection.makefile("rb"))
    host = line[1].rpartition(":")[0]
    connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
    with HOSTS[host].wrap_socket(connection, server_side=True) as secured:
        stream = secured.makefile("rb")
        line, headers = read_head(stream)
        body = stream.read(int(headers.get("content-length", 0)))
        seen = {"host": host, "line": line[:2], "headers": headers, "body": body.decode()}
        seen["proxy"] = proxy_headers.get("proxy-authorization")
        with lock, open(folder / "requests.jsonl", "a") as requests:
            requests.write(json.dumps(seen) + "\n")
        status, text = (200, '{"ok": true}') if host == "slack.com" else sts(headers, line, body)
        answer = text.encode()
        secured.sendall(f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)


lock = threading.Lock()
server = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"proxy": server.getsockname()[1]}), flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
