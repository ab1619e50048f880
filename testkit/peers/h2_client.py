"""Python h2 as an HBONE client: python3 h2_client.py PORT ROOT CERT KEY OCTETS STREAMS

Opens STREAMS streams at once, sends OCTETS on each, expects them back, and says GOAWAY. Then a GET, which must be answered
400. Prints "ok" when all was as it should be.
"""
import socket
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset


def main():
    port, root, cert, key, octets, streams = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_cert_chain(cert, key)
    context.load_verify_locations(root)
    context.set_alpn_protocols(["h2"])
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))))
    assert sock.selected_alpn_protocol() == "h2", sock.selected_alpn_protocol()
    exchange(sock, bytes(i * 31 % 251 for i in range(int(octets))), int(streams))
    print("ok", flush=True)


def exchange(sock, octets, count):
    conn = H2Connection(H2Configuration(header_encoding="utf-8", validate_outbound_headers=False))
    conn.initiate_connection()
    left, got, done, statuses = {}, {}, set(), {}
    for _ in range(count):
        stream = conn.get_next_available_stream_id()
        conn.send_headers(stream, [(":method", "CONNECT"), (":authority", "10.0.0.1:80")])
        left[stream], got[stream] = octets, bytearray()
    get = conn.get_next_available_stream_id()
    request = [(":method", "GET"), (":scheme", "https"), (":authority", "10.0.0.1:80"), (":path", "/")]
    conn.send_headers(get, request, end_stream=True)
    while len(done) < count + 1:
        for stream in list(left):
            while left[stream]:
                room = min(conn.local_flow_control_window(stream), conn.max_outbound_frame_size, len(left[stream]))
                if room <= 0:
                    break
                conn.send_data(stream, left[stream][:room])
                left[stream] = left[stream][room:]
            if not left[stream]:
                conn.end_stream(stream)
                del left[stream]
        sock.sendall(conn.data_to_send())
        received = sock.recv(65536)
        assert received, "the server hung up"
        for event in conn.receive_data(received):
            if isinstance(event, ResponseReceived):
                statuses[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, DataReceived):
                got[event.stream_id] += event.data
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                done.add(event.stream_id)
            elif isinstance(event, StreamReset):
                assert event.stream_id == get and int(event.error_code) == 0, event
    assert statuses.pop(get) == "400"
    assert set(statuses.values()) == {"200"}, statuses
    assert all(bytes(all_of_it) == octets for all_of_it in got.values())
    conn.close_connection()
    sock.sendall(conn.data_to_send())


main()
