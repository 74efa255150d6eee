"""A mail server by aiosmtpd: wants TLS and a login, prints each letter as a line of JSON."""

import asyncio
import json
import ssl
import sys
import tempfile

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    async def handle_DATA(self, server, session, envelope):
        letter = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "letter": envelope.content.decode(),
            "secured": session.ssl is not None,
        }
        print(json.dumps(letter), flush=True)
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    name, password = sys.argv[1].encode(), sys.argv[2].encode()
    is_known = (data.login, data.password) == (name, password)
    return AuthResult(success=is_known, handled=False)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile("w") as identity:
        identity.write(sys.stdin.read())
        identity.flush()
        context.load_cert_chain(identity.name)

    def protocol():
        return SMTP(
            Keep(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
