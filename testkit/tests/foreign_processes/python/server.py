"""Python h2 as an HBONE server: python3 server.py PORT ROOT CERT KEY WINDOWS STREAMS

Serves one TLS connection, with WINDOWS as in peer.py, and STREAMS at a time. What a CONNECT gets depends on its port:

    1               401
    2               200 and an echo; with it a GOAWAY that names this stream as the last
    3               GOAWAY(ENHANCE_YOUR_CALM) that says nothing was processed, and a hang-up
    1000 + KIB      200 with a header of so many KiB, and an echo
    20000 + CODE    200, and RST_STREAM with the code once something has arrived
    another         200 and an echo: what comes goes back, and the end too

It prints the baggage's length of each request, and each reset with its code.
"""
import socket
import ssl
import sys

from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset

from peer import Peer, context, hang_up


def main():
    port, root, cert, key, windows, streams = sys.argv[1:]
    tls = context(ssl.PROTOCOL_TLS_SERVER, root, cert, key)
    listener = socket.create_server(("127.0.0.1", int(port)))
    print("ready", flush=True)
    sock = tls.wrap_socket(listener.accept()[0], server_side=True)
    Server(Peer(sock, False, windows, int(streams))).serve()


class Server:
    def __init__(self, peer):
        self.peer = peer
        self.ports = {}
        self.last = None

    def serve(self):
        while (events := self.peer.events()) is not None:
            for event in events:
                stream = getattr(event, "stream_id", 0) or 0
                if self.last is not None and stream > self.last:
                    continue
                self.handle(event, stream)
            if 3 in self.ports.values() or (self.last is not None and not self.ports):
                self.peer.flush()
                hang_up(self.peer.sock)
                return

    def handle(self, event, stream):
        if isinstance(event, RequestReceived):
            self.asked(stream, dict(event.headers))
        elif isinstance(event, StreamReset):
            self.ports.pop(stream, None)
            print("reset", stream, int(event.error_code), flush=True)
        elif stream not in self.ports:
            pass
        elif isinstance(event, DataReceived):
            if self.ports[stream] >= 20000:
                self.peer.reset(stream, self.ports.pop(stream) - 20000)
            else:
                self.peer.send(stream, event.data)
        elif isinstance(event, StreamEnded):
            self.peer.end(stream)
            del self.ports[stream]

    def asked(self, stream, headers):
        port = int(headers[":authority"].rsplit(":", 1)[1])
        print("request", stream, len(headers.get("baggage", "")), flush=True)
        if headers[":method"] != "CONNECT" or port == 1:
            self.peer.conn.send_headers(stream, [(":status", "401")], end_stream=True)
            return
        self.ports[stream] = port
        if port == 3:
            self.peer.goaway(0, 11)
            return
        answer = [(":status", "200")]
        if 1000 <= port < 2000:
            answer.append(("x-big", "x" * (port - 1000 << 10)))
        self.peer.conn.send_headers(stream, answer)
        if port == 2:
            self.last = stream
            self.peer.goaway(stream)


main()
