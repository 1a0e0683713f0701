# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""smtp.py PORT FILE: an SMTP server that appends each mail to FILE as a line of JSON: sender, recipients, text."""

import asyncio
import json
import sys


async def converse(reader, writer, mails):
    """Hold one conversation of RFC 5321, as far as smtplib goes."""

    async def answer(line):
        writer.write(line.encode() + b"\r\n")
        await writer.drain()

    mail = {}
    await answer("220 ready")
    while line := await reader.readline():
        word = line[:4].upper().strip()
        if word in (b"EHLO", b"HELO"):
            await answer("250 welcome")
        elif word == b"MAIL":
            mail = {"sender": line.decode().split("<")[1].split(">")[0], "recipients": []}
            await answer("250 ok")
        elif word == b"RCPT":
            mail["recipients"].append(line.decode().split("<")[1].split(">")[0])
            await answer("250 ok")
        elif word == b"DATA":
            await answer("354 go on")
            text = (await reader.readuntil(b"\r\n.\r\n"))[:-5]
            mail["text"] = text.replace(b"\r\n..", b"\r\n.").decode()
            print(json.dumps(mail), file=mails, flush=True)
            await answer("250 received")
        elif word == b"QUIT":
            await answer("221 bye")
            break
        else:
            await answer("250 ok")
    writer.close()


async def main(port, mails):
    """Serve until killed."""
    server = await asyncio.start_server(lambda *streams: converse(*streams, mails), "localhost", port)
    async with server:
        await server.serve_forever()


with open(sys.argv[2], "a", encoding="utf-8") as file:
    asyncio.run(main(int(sys.argv[1]), file))
