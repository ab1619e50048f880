//! What is not ours goes to a name server and back, octet for octet; what clients and name servers do wrong harms nobody.

use std::net::UdpSocket as StdUdpSocket;
use std::sync::{Arc, Mutex};

use adit_core::dns::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::rig::{
    Proxy, describe, framed, knows_nothing, mesh, name_server, query, query_with_edns, read_message, receive,
    response, script, silent,
};

const A: u16 = 1;
const TXT: u16 = 16;
const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

#[tokio::test]
async fn octet_for_octet_both_ways() {
    // Whatever the server says: flags, counts and records that nobody can read.
    const TAIL: &[u8] = b"\xc0\x0c\xff\xff\x00\x01 authority, additionals, garbage";
    let seen = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let record = Arc::clone(&seen);
    let server = name_server(script(move |call| {
        record.lock().unwrap().push(call.octets.to_vec());
        let opcode = u16::from(call.octets[2] & 0x78) << 8;
        vec![response(call.octets, 0x87f9 & !0x7800 | opcode, TAIL)]
    }));
    let proxy = Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), vec![server.await]);
    let mut notify = query("local.io", 6);
    notify[2] = 0x24;
    let mut signed = query("local.io", A);
    signed[11] = 1;
    signed.extend_from_slice(b"\0\0\xfa\0\xff\0\0\0\0\0\x04sig!");
    let mut chaos = query("version.bind", TXT);
    *chaos.last_mut().unwrap() = 3;
    let stateful = [0x12, 0x34, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9].to_vec();
    for asked in
        [query("MiXed.Example", 65_280), query_with_edns("x.io", A, 1400), notify, signed, chaos, stateful]
    {
        for transport in BOTH {
            let answer = proxy.ask(transport, &asked).await;
            let relayed = seen.lock().unwrap().pop().unwrap();
            assert_eq!(relayed[2..], asked[2..], "to the server");
            let opcode = u16::from(asked[2] & 0x78) << 8;
            assert_eq!(answer, response(&asked, 0x87f9 & !0x7800 | opcode, TAIL), "to the client");
        }
    }
}

#[tokio::test]
async fn a_truncated_response_stays_so_and_tcp_is_relayed_over_tcp() {
    let server = name_server(script(|call| match call.transport {
        Transport::Udp => vec![response(call.octets, 0x8380, &[])],
        Transport::Tcp => vec![response(call.octets, 0x8180, &[7; 60_000])],
    }));
    let proxy = Proxy::start(mesh(&[]), vec![server.await]);
    let asked = query("large.example", TXT);
    assert_eq!(proxy.ask_udp(&asked).await, response(&asked, 0x8380, &[]));
    assert_eq!(proxy.ask_tcp(&asked).await, response(&asked, 0x8180, &[7; 60_000]));
}

#[tokio::test]
async fn garbage_and_forged_responses_are_passed_over() {
    let server = name_server(script(|call| {
        let mut other_id = response(call.octets, 0x8180, b"other id");
        other_id[1] ^= 1;
        let mut other_name = response(call.octets, 0x8180, b"other name");
        other_name[13] ^= 1;
        if call.transport == Transport::Udp {
            // All right but for where it comes from.
            let forger = StdUdpSocket::bind("127.0.0.1:0").unwrap();
            forger.send_to(&response(call.octets, 0x8180, b"forged"), call.from).unwrap();
        }
        let good = response(call.octets, 0x8180, b"good");
        vec![b"x".to_vec(), call.octets.to_vec(), other_id, other_name, good.clone(), good]
    }));
    let proxy = Proxy::start(mesh(&[]), vec![server.await]);
    for transport in BOTH {
        let asked = query("x.example", A);
        assert_eq!(proxy.ask(transport, &asked).await, response(&asked, 0x8180, b"good"));
    }
}

#[tokio::test]
async fn who_is_silent_or_not_there_is_followed_by_the_next() {
    let nobody = {
        let socket = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let servers = vec![nobody, name_server(silent()).await, name_server(knows_nothing()).await];
    let proxy = Proxy::start(mesh(&[]), servers);
    for transport in BOTH {
        assert_eq!(describe(&proxy.ask(transport, &query("x.example", A)).await), "theirs NXDomain");
    }
}

#[tokio::test]
async fn when_nobody_responds_the_client_is_told_and_metrics_hear_of_it() {
    let servers = vec![name_server(silent()).await];
    let proxy = Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), servers);
    assert_eq!(describe(&proxy.ask_udp(&query("x.example", A)).await), "theirs ServFail");
    proxy.ask_tcp(&query("local.io", A)).await;
    let expected = [
        "Request a udp client",
        "UpstreamRequest a udp client",
        "UpstreamFailed a udp client",
        "Request a tcp client",
    ];
    assert_eq!(*proxy.observed.lock().unwrap(), expected);
    let proxy = Proxy::start(mesh(&[]), vec![name_server(knows_nothing()).await]);
    proxy.ask_udp(&query("x.example", 15)).await;
    let expected =
        ["Request mx udp client", "UpstreamRequest mx udp client", "UpstreamAnswered mx udp client"];
    assert_eq!(*proxy.observed.lock().unwrap(), expected);
}

#[tokio::test]
async fn malformed_queries_get_an_error_and_responses_nothing() {
    let proxy = Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), vec![]);
    let mut looping = query("local.io", A);
    looping.splice(12..14, [0xc0, 0x0c]);
    for transport in BOTH {
        let answer = proxy.ask(transport, &looping).await;
        assert_eq!(describe(&answer), "theirs FormErr");
    }
    let asked = query("local.io", A);
    let answered = describe(&proxy.ask_udp(&asked).await);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(proxy.udp).await.unwrap();
    let mut stream = proxy.connect().await;
    for nothing in [response(&asked, 0x8180, &[]), vec![1, 2, 3], vec![]] {
        socket.send(&nothing).await.unwrap();
        stream.write_all(&framed(&nothing)).await.unwrap();
    }
    socket.send(&asked).await.unwrap();
    stream.write_all(&framed(&asked)).await.unwrap();
    assert_eq!(describe(&receive(&socket).await), answered);
    assert_eq!(describe(&read_message(&mut stream).await.unwrap()), answered);
}

#[tokio::test]
async fn a_client_with_too_many_questions_is_told_at_once() {
    let proxy = Proxy::start_with(mesh(&[]), vec![name_server(silent()).await], "127.0.0.1:0", |setup| {
        setup.forwarder.per_source = 2;
        setup.forwarder.timeout = std::time::Duration::from_secs(3600);
    });
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(proxy.udp).await.unwrap();
    for _ in 0..3 {
        socket.send(&query("x.example", A)).await.unwrap();
    }
    assert_eq!(describe(&receive(&socket).await), "theirs ServFail");
}

#[tokio::test]
async fn a_zone_comes_in_many_messages_however_slowly_it_is_read() {
    const PARTS: u16 = 200;
    let server = name_server(script(|call| {
        (0..PARTS).map(|n| response(call.octets, 0x8180, &[n as u8; 8_000])).collect()
    }));
    let proxy = Proxy::start_with(mesh(&[]), vec![server.await], "127.0.0.1:0", |setup| {
        setup.forwarder.timeout = std::time::Duration::from_secs(10);
    });
    let asked = query("zone.example", 252);
    let mut stream = proxy.connect().await;
    stream.write_all(&framed(&asked)).await.unwrap();
    for n in 0..PARTS {
        let part = read_message(&mut stream).await.unwrap();
        assert_eq!(part, response(&asked, 0x8180, &[n as u8; 8_000]), "part {n}");
    }
}

#[tokio::test]
async fn one_connection_carries_many_questions_in_any_pieces() {
    let proxy =
        Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), vec![name_server(knows_nothing()).await]);
    let mut stream = proxy.connect().await;
    stream.set_nodelay(true).unwrap();
    let mut octets = vec![];
    for id in 0..100_u8 {
        let name = if id.is_multiple_of(2) { "local.io" } else { "x.example" };
        let mut asked = query(name, A);
        asked[1] = id;
        octets.extend(framed(&asked));
    }
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for piece in octets.chunks(37) {
            writer.write_all(piece).await.unwrap();
        }
    };
    let reading = async {
        let mut ids = vec![];
        for _ in 0..100 {
            let mut answer = vec![0; reader.read_u16().await.unwrap().into()];
            reader.read_exact(&mut answer).await.unwrap();
            ids.push(answer[1]);
        }
        ids.sort_unstable();
        ids
    };
    let ((), ids) = tokio::join!(writing, reading);
    assert_eq!(ids, (0..100).collect::<Vec<u8>>());
}

#[tokio::test]
async fn drain_stops_listening_and_answers_what_had_come() {
    let (begin, begun) = std::sync::mpsc::channel();
    let begin = Mutex::new(begin);
    let calls = Arc::new(Mutex::new(0));
    // Asked for the second time it responds: by then the drain has begun.
    let server = name_server(script(move |call| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        begin.lock().unwrap().send(()).unwrap();
        if *calls == 1 { vec![] } else { vec![response(call.octets, 0x8183, &[])] }
    }));
    let mut proxy = Proxy::start(mesh(&[]), vec![server.await]);
    let mut idle = proxy.connect().await;
    idle.write_all(&framed(&query("x.example", A))).await.unwrap();
    while begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    proxy.drain.take().unwrap().send(()).unwrap();
    assert_eq!(describe(&read_message(&mut idle).await.unwrap()), "theirs NXDomain");
    assert_eq!(read_message(&mut idle).await, None, "the connection ends");
    proxy.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(proxy.tcp).await.is_err(), "nobody listens");
}
