//! Keepalive of dialled sockets.
use std::time::Duration;

use socket2::SockRef;

use super::*;
use crate::socket::Keepalive;

#[test]
fn a_dialled_socket_gets_its_keepalive_when_it_has_lasted_a_moment() {
    let keepalive = Keepalive { time: Duration::from_secs(7), interval: Duration::from_secs(8), retries: 3 };
    for wanted in [Some(keepalive), None] {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = SocketOptions { keepalive: wanted, ..SocketOptions::default() };
        let (mut drive, hand, ..) = driven(1, DriveConfig { socket, ..DriveConfig::default() });
        let to = server.local_addr().unwrap();
        drive.engine.actions.push_back(Action::Dial { proxy: ProxyId::OWN, socket: id(1), to, source: None });
        let mut probed = Vec::new();
        for _ in 0..3 {
            hand.fire(0);
            let _ = poll(&mut drive);
            let Some((Connection { transport: Transport::Fd(io), .. }, _)) = drive.slots.get(id(1)) else {
                panic!("the socket is there");
            };
            let socket = SockRef::from(&*io);
            assert!(socket.tcp_nodelay().unwrap());
            let time = || socket.tcp_keepalive_time().unwrap();
            probed.push(socket.keepalive().unwrap().then(time));
            hand.now.set(hand.now.get() + Duration::from_secs(1));
        }
        assert_eq!(probed, [None, None, wanted.map(|keepalive| keepalive.time)]);
    }
}
