"""Python h2 as an HBONE client: python3 client.py PORT ROOT CERT KEY WINDOWS WHAT…

with WINDOWS as in peer.py. WHAT is one of

    exchange OCTETS STREAMS  that many streams, as many at a time as allowed, each sending and expecting OCTETS; then a GET
    resets CODE…             a stream for each: an octet there and back, then RST_STREAM; at last one that the server resets
    drain OCTETS             two streams, of which the server says GOAWAY halfway
    goaway OCTETS            the same, and it is this end that says it
    headers OCTETS…          a request with a header of each size

It prints what it sees, and "ok" when all was as it should be.
"""
import socket
import ssl
import sys

from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from peer import Peer, context, hang_up

CONNECT = [(":method", "CONNECT"), (":authority", "10.0.0.1:80")]


def main():
    port, root, cert, key, windows, what, *numbers = sys.argv[1:]
    tls = context(ssl.PROTOCOL_TLS_CLIENT, root, cert, key)
    sock = tls.wrap_socket(socket.create_connection(("127.0.0.1", int(port))))
    assert sock.selected_alpn_protocol() == "h2", sock.selected_alpn_protocol()
    client = Client(Peer(sock, True, windows))
    client.wait(lambda: client.peer.settled)
    getattr(client, what)(*map(int, numbers))
    client.peer.flush()
    print("ok", flush=True)
    hang_up(sock)


def pattern(octets):
    return bytes(i * 31 % 251 for i in range(octets))


class Client:
    def __init__(self, peer):
        self.peer = peer
        self.got, self.statuses, self.baggage, self.ended, self.broken, self.goaways = {}, {}, {}, set(), {}, []

    def open(self, headers=(), octets=b""):
        stream = self.peer.conn.get_next_available_stream_id()
        self.peer.conn.send_headers(stream, CONNECT + list(headers))
        self.got[stream] = bytearray()
        self.peer.send(stream, octets)
        return stream

    def wait(self, done):
        while not done():
            events = self.peer.events()
            assert events is not None, "the server hung up"
            for event in events:
                if isinstance(event, ResponseReceived):
                    headers = dict(event.headers)
                    self.statuses[event.stream_id] = headers[":status"]
                    self.baggage[event.stream_id] = len(headers.get("baggage", ""))
                elif isinstance(event, DataReceived):
                    self.got[event.stream_id] += event.data
                elif isinstance(event, StreamEnded):
                    self.ended.add(event.stream_id)
                elif isinstance(event, StreamReset):
                    self.broken[event.stream_id] = int(event.error_code)
                    print("reset", int(event.error_code), flush=True)
                elif isinstance(event, ConnectionTerminated):
                    self.goaways.append(event.last_stream_id)
                    print("goaway", event.last_stream_id, int(event.error_code), flush=True)

    def exchange(self, octets, count):
        sent, mine = pattern(octets), []
        for _ in range(count):
            self.wait(lambda: self.peer.conn.open_outbound_streams < self.peer.conn.remote_settings.max_concurrent_streams)
            mine.append(self.open(octets=sent))
            self.peer.end(mine[-1])
            self.peer.flush()
        self.wait(lambda: self.ended.issuperset(mine))
        assert all(self.got[stream] == sent and self.statuses[stream] == "200" for stream in mine), self.statuses
        assert not self.peer.changes, self.peer.changes
        get = self.peer.conn.get_next_available_stream_id()
        request = [(":method", "GET"), (":scheme", "https"), (":authority", "10.0.0.1:80"), (":path", "/")]
        self.peer.conn.send_headers(get, request, end_stream=True)
        self.wait(lambda: get in self.ended)
        assert self.statuses[get] == "400", self.statuses

    def resets(self, *codes):
        for code in codes:
            stream = self.open(octets=b"x")
            self.wait(lambda: self.got[stream] == b"x")
            self.peer.reset(stream, code)
        stream = self.open(octets=b"last")
        self.wait(lambda: stream in self.broken)

    def drain(self, octets):
        self.halfway(octets, lambda: self.wait(lambda: self.goaways))

    def goaway(self, octets):
        self.halfway(octets, lambda: self.peer.goaway(0))

    def halfway(self, octets, then):
        sent = pattern(octets)
        mine = [self.open(octets=sent[: octets // 2]) for _ in range(2)]
        self.wait(lambda: all(self.got[stream] for stream in mine))
        then()
        for stream in mine:
            self.peer.send(stream, sent[octets // 2 :])
            self.peer.end(stream)
        self.wait(lambda: self.ended.issuperset(mine))
        assert all(self.got[stream] == sent for stream in mine)

    def headers(self, *sizes):
        for size in sizes:
            stream = self.open(headers=[("x-big", "x" * size)])
            self.wait(lambda: stream in self.statuses or stream in self.broken)
            print("header", size, self.statuses.get(stream), self.baggage.get(stream), self.broken.get(stream), flush=True)


main()
