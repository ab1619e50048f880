"""Python h2 as an HBONE server: python3 h2_server.py PORT ROOT CERT KEY

Serves one TLS connection: answers CONNECT with 200, sends back what comes, ends a stream when the client did. A CONNECT to
port 1 is refused with 401, one to port 2 is reset with CONNECT_ERROR once something has arrived.
"""
import socket
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated


def main():
    port, root, cert, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(root)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", int(port)))
    print("ready", flush=True)
    sock = context.wrap_socket(listener.accept()[0], server_side=True)
    serve(sock)


def serve(sock):
    conn = H2Connection(H2Configuration(client_side=False, validate_inbound_headers=False, header_encoding="utf-8"))
    conn.initiate_connection()
    sock.sendall(conn.data_to_send())
    waiting = {}  # stream: octets to send back
    ports = {}
    ended = set()

    def flush(stream):
        data = waiting[stream]
        while data:
            room = min(conn.local_flow_control_window(stream), conn.max_outbound_frame_size, len(data))
            if room <= 0:
                return
            conn.send_data(stream, bytes(data[:room]))
            del data[:room]
        if stream in ended:
            conn.end_stream(stream)
            del waiting[stream]

    while received := sock.recv(65536):
        for event in conn.receive_data(received):
            if isinstance(event, RequestReceived):
                headers = dict(event.headers)
                ports[event.stream_id] = headers[":authority"].rsplit(":", 1)[1]
                if headers[":method"] != "CONNECT" or ports[event.stream_id] == "1":
                    conn.send_headers(event.stream_id, [(":status", "401")], end_stream=True)
                else:
                    conn.send_headers(event.stream_id, [(":status", "200")])
                    waiting[event.stream_id] = bytearray()
            elif isinstance(event, DataReceived):
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if ports[event.stream_id] == "2":
                    conn.reset_stream(event.stream_id, ErrorCodes.CONNECT_ERROR)
                    waiting.pop(event.stream_id, None)
                elif event.stream_id in waiting:
                    waiting[event.stream_id] += event.data
            elif isinstance(event, StreamEnded):
                ended.add(event.stream_id)
            elif isinstance(event, StreamReset):
                waiting.pop(event.stream_id, None)
                print("reset", int(event.error_code), flush=True)
            elif isinstance(event, (WindowUpdated, ConnectionTerminated)):
                pass
        for stream in list(waiting):
            flush(stream)
        sock.sendall(conn.data_to_send())


main()
