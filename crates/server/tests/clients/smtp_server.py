"""A mail server. Given: `folder`, with `server.crt` and `server.key` if `tls`, which demands STARTTLS and the password `secret` of
`unit`. Prints its port. Mails are lines of `mails.jsonl`; recipients whose address begins with `refused` are refused."""

import asyncio
import email
import email.policy
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

given = json.loads(sys.argv[1])
folder = pathlib.Path(given["folder"])


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        seen = {
            "encrypted": session.ssl is not None,
            "authenticated": bool(session.authenticated),
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "charset": mail.get_content_charset(),
            "text": mail.get_content(),
        }
        with open(folder / "mails.jsonl", "a") as mails:
            mails.write(json.dumps(seen) + "\n")
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"unit", b"secret"))


def session():
    if not given["tls"]:
        return SMTP(Handler())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return SMTP(
        Handler(),
        tls_context=context,
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
    )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


asyncio.run(main())
