#!/usr/bin/python3
"""One HTTP/3 connection, as it is told to use it.

    http3.py PORT NAME CA

Reads lines of JSON: lists of operations, which go out together, in as few
packets as they fit.  A stream is named as whoever asks likes it.

    {"stream": 1, "headers": [[NAME, VALUE], ...], "end": true}
    {"stream": 1, "data": BYTES, "end": false}
    {"stream": 1, "data": "", "end": true}      an end without a frame
    {"stream": 1, "data": "", "frame": 1}       a frame without bytes, and "end"
    {"stream": 1, "reset": CODE}
    {"stream": 1, "stop": CODE}         no more of the answer, please
    {"ping": 1}                         answered after all that was sent before

An end without a frame wants an idle connection: aioquic loses one that does
not go out at once.

Nothing of that is checked: what is wrong is the server's to refuse.  Writes
what comes, one JSON object a line, each for one stream:

    {"stream": 1, "headers": [[NAME, VALUE], ...], "end": false}
    {"stream": 1, "data": BYTES, "end": true}
    {"stream": 1, "reset": CODE}
    {"stream": 1, "stopped": CODE}      no more of the request, please
    {"ping": 1}
    {"closed": WHY}                     the connection

Bytes are the characters up to U+00FF.  Ends with its input.
"""

import asyncio
import json
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

INPUT_LIMIT = 1 << 24


def pairs(headers, convert):
    return [(convert(name), convert(value)) for name, value in headers]


def encoded(text):
    return text.encode('latin-1')


def decoded(data):
    return data.decode('latin-1')


def say(**what):
    print(json.dumps(what), flush=True)


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.http = H3Connection(self._quic)
        self.ids = {}
        self.names = {}

    def stream(self, name):
        if name not in self.ids:
            self.ids[name] = self._quic.get_next_available_stream_id()
            self.names[self.ids[name]] = name
        return self.ids[name]

    def perform(self, operations):
        for o in operations:
            if 'ping' in o:
                self._quic.send_ping(o['ping'])
                continue

            stream = self.stream(o['stream'])
            end = bool(o.get('end'))
            if 'headers' in o:
                self.http.send_headers(stream, pairs(o['headers'], encoded),
                                       end)
            elif o.get('data') or 'frame' in o:
                self.http.send_data(stream, encoded(o['data']), end)
            elif 'reset' in o:
                self._quic.reset_stream(stream, o['reset'])
            elif 'stop' in o:
                self._quic.stop_stream(stream, o['stop'])
            else:
                self._quic.send_stream_data(stream, b'', end)
        self.transmit()

    def quic_event_received(self, event):
        if isinstance(event, events.ConnectionTerminated):
            say(closed=f'{event.error_code} {event.reason_phrase}')
        elif isinstance(event, events.PingAcknowledged):
            say(ping=event.uid)
        elif isinstance(event, events.StreamReset):
            if event.stream_id in self.names:
                say(stream=self.names[event.stream_id],
                    reset=event.error_code)
        elif isinstance(event, events.StopSendingReceived):
            if event.stream_id in self.names:
                say(stream=self.names[event.stream_id],
                    stopped=event.error_code)

        for e in self.http.handle_event(event):
            if isinstance(e, HeadersReceived):
                say(stream=self.names[e.stream_id], end=e.stream_ended,
                    headers=pairs(e.headers, decoded))
            elif isinstance(e, DataReceived):
                say(stream=self.names[e.stream_id], end=e.stream_ended,
                    data=decoded(e.data))


async def main(port, name, authority):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN,
                                      server_name=name)
    configuration.load_verify_locations(authority)

    lines = asyncio.StreamReader(limit=INPUT_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async with connect('127.0.0.1', int(port), configuration=configuration,
                       create_protocol=Client) as client:
        while line := await lines.readline():
            client.perform(json.loads(line))


asyncio.run(main(*sys.argv[1:]))
