"""What the client and the server made of Python's h2 share: TLS, a connection, and the windows it announces.

h2 itself judges the other end: whatever breaks a rule, DATA beyond a window for one, raises an exception, and the script
ends without its last word.
"""
import socket
import ssl

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import (
    ConnectionTerminated, DataReceived, RequestReceived, ResponseReceived, SettingsAcknowledged, StreamEnded, StreamReset,
)
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

PREFACE = 24
FRAME_HEADER = 9
PATIENCE = 30


def context(protocol, root, cert, key):
    """TLS that demands a certificate of `root` and looks at no name."""
    made = ssl.SSLContext(protocol)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(cert, key)
    made.load_verify_locations(root)
    made.set_alpn_protocols(["h2"])
    return made


def hang_up(sock):
    """close_notify and FIN, then whatever is still on its way here: else its arrival would cut what is on its way there."""
    sock.setblocking(False)
    try:
        sock.unwrap()
    except OSError:
        pass  # It has been sent; the other end's is not awaited.
    sock.settimeout(PATIENCE)
    try:
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    except OSError:
        pass


class Peer:
    """One connection. `windows` is "FIRST,AFTER:NEXT,…": SETTINGS_INITIAL_WINDOW_SIZE, and what it becomes once so many
    octets have come in. Up to the first change, and while a change is not acknowledged, no stream gets credit back: so a
    smaller window leaves less than none."""

    def __init__(self, sock, client_side, windows, streams=100):
        sock.settimeout(PATIENCE)
        # Or each small frame waits for the other end's TCP to acknowledge the one before it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.open = ConnectionState.CLIENT_OPEN if client_side else ConnectionState.SERVER_OPEN
        self.conn = H2Connection(H2Configuration(
            client_side=client_side, header_encoding="utf-8", validate_inbound_headers=False, validate_outbound_headers=False,
        ))
        first, *changes = windows.split(",")
        self.changes = [tuple(map(int, change.split(":"))) for change in changes]
        self.holding = bool(changes)
        # Nothing is changed before the first SETTINGS are acknowledged: h2 would take that for the change's.
        self.settled = False
        self.live = False
        self.received = 0
        self.owed = {}
        self.sending = {}
        self.ending = set()
        self.input = b""
        self.preface = 0 if client_side else PREFACE
        values = {SettingCodes.INITIAL_WINDOW_SIZE: int(first), SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 20}
        if not client_side:
            values[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
        self.conn.local_settings = Settings(client=client_side, initial_values=values)
        self.conn.decoder.max_header_list_size = 1 << 20
        self.conn.initiate_connection()
        # The connection's window is not what is tried here.
        self.conn.increment_flow_control_window(1 << 24)

    def send(self, stream, octets):
        self.sending.setdefault(stream, bytearray()).extend(octets)

    def end(self, stream):
        self.sending.setdefault(stream, bytearray())
        self.ending.add(stream)

    def reset(self, stream, code):
        self.conn.reset_stream(stream, code)
        self.forget(stream)

    def forget(self, stream):
        self.sending.pop(stream, None)
        self.ending.discard(stream)
        self.owed.pop(stream, None)

    def goaway(self, last, code=0):
        """GOAWAY behind what is queued. h2's own would end its connection at once; this one lets streams go on."""
        self.flush()
        self.sock.sendall(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())

    def flush(self):
        """Sends what the windows allow."""
        for stream, data in list(self.sending.items()):
            while data:
                room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size, len(data))
                if room <= 0:
                    break
                self.conn.send_data(stream, bytes(data[:room]))
                del data[:room]
            if not data and stream in self.ending:
                self.ending.discard(stream)
                del self.sending[stream]
                self.conn.end_stream(stream)
        self.sock.sendall(self.conn.data_to_send())

    def events(self):
        """The events of what comes next, which may be none; None when the other end has hung up."""
        self.flush()
        received = self.sock.recv(65536)
        if not received:
            return None
        self.input += received
        events = []
        while frame := self.take():
            for event in self.conn.receive_data(frame):
                self.account(event)
                events.append(event)
            # Now, since h2 drops what is queued when it sees GOAWAY.
            self.sock.sendall(self.conn.data_to_send())
        return events

    def take(self):
        """One frame, or a client's first words; empty as long as it is not complete. One at a time, because h2 takes
        nothing behind a GOAWAY, although streams go on (RFC 9113 §6.8)."""
        size = self.preface or FRAME_HEADER
        if not self.preface and len(self.input) >= FRAME_HEADER:
            size += int.from_bytes(self.input[:3], "big")
        if len(self.input) < size:
            return b""
        self.preface = 0
        frame, self.input = self.input[:size], self.input[size:]
        return frame

    def account(self, event):
        """Keeps the windows, whatever the script makes of the event."""
        if isinstance(event, DataReceived):
            size = event.flow_controlled_length
            self.received += size
            if event.stream_ended is None:
                self.owed[event.stream_id] = self.owed.get(event.stream_id, 0) + size
            if size:
                self.conn.increment_flow_control_window(size)
        elif isinstance(event, SettingsAcknowledged):
            self.settled = True
            if event.changed_settings:
                self.holding = False
        elif isinstance(event, (RequestReceived, ResponseReceived)):
            self.live = True
        elif isinstance(event, StreamReset):
            self.forget(event.stream_id)
        elif isinstance(event, StreamEnded):
            self.owed.pop(event.stream_id, None)
        elif isinstance(event, ConnectionTerminated) and event.error_code == 0:
            self.conn.state_machine.state = self.open
        if not self.holding:
            for stream, size in self.owed.items():
                if size:
                    self.conn.increment_flow_control_window(size, stream)
                    self.owed[stream] = 0
        if self.changes and self.settled and self.live and self.received >= self.changes[0][0]:
            self.conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self.changes.pop(0)[1]})
            self.settled, self.holding = False, True
