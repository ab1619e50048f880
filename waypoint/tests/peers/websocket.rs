//! WebSockets between tungstenite's client and tungstenite's server.
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use adit_waypoint::demo::app::octets;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::rig::servers::server;
use super::rig::{PATIENCE, Rig, echo, route};

/// What a server was told besides what it sends back.
#[derive(Debug, PartialEq)]
enum Told {
    Pong(Vec<u8>),
    Closed(Option<CloseFrame>),
    Broken,
}

/// A server that sends back what it is sent; `ping` and `close` ask it to do so itself. Whoever asks for `/silent`, and not for
/// a WebSocket, is never answered.
fn echoing(last: u8) -> (SocketAddr, Receiver<Told>) {
    let (told, tells) = channel();
    let address = server(last, move |stream| {
        let told = told.clone();
        let mut head = [0; 16];
        match stream.peek(&mut head) {
            Ok(_) if head.starts_with(b"GET /silent") => silent(&stream),
            Ok(_) => serve(stream, &told),
            Err(_) => {}
        }
    });
    (address, tells)
}

/// Until the other side has had enough.
fn silent(mut stream: &TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

#[expect(clippy::result_large_err, reason = "tungstenite's callback")]
fn greet(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == "/refused" {
        let refused = http::Response::builder().status(418).header("x-why", "because");
        return Err(refused.body(Some("not here".to_owned())).unwrap());
    }
    if let Some(protocols) = request.headers().get("sec-websocket-protocol") {
        let first = protocols.to_str().unwrap().split(',').next().unwrap().trim().to_owned();
        response.headers_mut().insert("sec-websocket-protocol", first.parse().unwrap());
    }
    Ok(response)
}

fn serve(stream: TcpStream, told: &Sender<Told>) {
    let Ok(mut socket) = tungstenite::accept_hdr(stream, greet) else { return };
    loop {
        let answered = match socket.read() {
            Ok(Message::Text(text)) if text.as_str() == "ping" => {
                socket.send(Message::Ping("are you there".into()))
            }
            Ok(Message::Text(text)) if text.as_str() == "close" => {
                socket.close(Some(frame(4001, "as it was asked for")))
            }
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message),
            Ok(Message::Pong(payload)) => tell(told, Told::Pong(payload.to_vec())),
            Ok(Message::Close(frame)) => tell(told, Told::Closed(frame)),
            Ok(Message::Ping(_) | Message::Frame(_)) => Ok(()),
            Err(Error::ConnectionClosed) => return,
            Err(_) => {
                let _ = told.send(Told::Broken);
                return;
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

/// The test may be over.
fn tell(told: &Sender<Told>, what: Told) -> Result<(), Error> {
    let _ = told.send(what);
    Ok(())
}

fn frame(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code: CloseCode::from(code), reason: reason.into() }
}

type Opened =
    Result<(WebSocket<TcpStream>, http::Response<Option<Vec<u8>>>), Box<http::Response<Option<Vec<u8>>>>>;

fn open(rig: &Rig, service: &str, path: &str, headers: &[(&'static str, &str)]) -> Opened {
    let stream = rig.client(service, 80).0.into_inner();
    let mut request = http::Request::builder()
        .uri(format!("ws://{service}{path}"))
        .header("host", service)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", tungstenite::handshake::client::generate_key());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match tungstenite::client(request.body(()).unwrap(), stream) {
        Ok(opened) => Ok(opened),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer),
        Err(error) => panic!("{error}"),
    }
}

fn opened(rig: &Rig, service: &str) -> WebSocket<TcpStream> {
    open(rig, service, "/socket", &[]).unwrap().0
}

/// A mesh whose service `socket` is such a server.
fn rig(last: u8, manifests: &str) -> (Rig, Receiver<Told>) {
    let (address, told) = echoing(last);
    let mut plan = echo();
    plan.servers = vec![("socket", address, vec!["socket"])];
    let rig = Rig::new(&plan, manifests);
    assert!(rig.world.problems.is_empty(), "{:?}", rig.world.problems);
    (rig, told)
}

fn echoes(socket: &mut WebSocket<TcpStream>, message: Message) {
    socket.send(message.clone()).unwrap();
    let echoed = socket.read().unwrap();
    // Not by `assert_eq!`, which would print a megabyte.
    assert!(echoed == message, "{} octets came back as {}", message.len(), echoed.len());
}

#[test]
fn messages_of_all_kinds_come_back() {
    let (rig, told) = rig(40, "");
    let (mut socket, response) =
        open(&rig, "socket", "/socket", &[("sec-websocket-protocol", "chat, other")]).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    echoes(&mut socket, Message::text("grüß Gott"));
    echoes(&mut socket, Message::binary(octets(1 << 20)));
    echoes(&mut socket, Message::binary(Vec::new()));
    // Many at once, whose echoes are read afterwards.
    for number in 0..500 {
        socket.write(Message::text(format!("message {number}"))).unwrap();
    }
    socket.flush().unwrap();
    for number in 0..500 {
        assert_eq!(socket.read().unwrap(), Message::text(format!("message {number}")));
    }
    socket.send(Message::Ping("and you".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("and you".into()));
    socket.send(Message::text("ping")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Ping("are you there".into()));
    // The answer to it leaves with what is sent next.
    echoes(&mut socket, Message::text("still here"));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Pong(b"are you there".to_vec()));
}

#[test]
fn who_closes_says_why_on_both_sides() {
    let (rig, told) = rig(41, "");
    let mut socket = opened(&rig, "socket");
    socket.close(Some(frame(4000, "enough"))).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame(4000, "enough"))));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Closed(Some(frame(4000, "enough"))));
    drop(socket);

    let mut socket = opened(&rig, "socket");
    socket.send(Message::text("close")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame(4001, "as it was asked for"))));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Closed(Some(frame(4001, "as it was asked for"))));
    drop(socket);

    // Gone without a word.
    drop(opened(&rig, "socket"));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Told::Broken);
    assert!(rig.lines("/socket", 3).iter().all(|line| line.starts_with("GET /socket 101 - via_upstream ")));
}

/// As with Envoy, whose route timeout begins to count when a request has ended, which a WebSocket's does not.
#[test]
fn a_websocket_outlives_the_timeouts_of_its_route() {
    let timeouts = "  rules:\n  - timeouts: { request: 2s, backendRequest: 2s }\n    backendRefs: [{ name: socket, port: 80 }]";
    let (rig, _told) = rig(42, &route("HTTPRoute", "timed", "socket", timeouts));
    // On a slow machine the first may come too late for the timeouts itself.
    let mut tries = (0..20).map(|_| open(&rig, "socket", "/socket", &[]));
    let (mut socket, _) = tries.find_map(Result::ok).expect("a WebSocket");
    echoes(&mut socket, Message::text("before"));
    // That this ends shows that the timeouts hold, and that they are over for the WebSocket as well, which is older.
    let timed_out = rig.get("socket", "/silent", &[]);
    assert_eq!((timed_out.status, timed_out.body.as_slice()), (504, &b"upstream request timeout"[..]));
    echoes(&mut socket, Message::text("after"));
    echoes(&mut socket, Message::binary(octets(1 << 20)));
}

#[test]
fn a_websocket_outlives_changes_of_manifests() {
    let (mut rig, _told) = rig(43, "");
    let mut socket = opened(&rig, "socket");
    echoes(&mut socket, Message::text("before"));
    let deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: p, namespace: demo }\n\
                spec: { targetRefs: [{ group: \"\", kind: Service, name: socket }] }\n";
    rig.world.apply(deny).unwrap();
    let refused = open(&rig, "socket", "/denied", &[]).unwrap_err();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["server"]),
        (403, &"istio-envoy".parse().unwrap())
    );
    echoes(&mut socket, Message::text("after"));
}

#[test]
fn an_application_that_wants_no_websocket_says_so_itself() {
    let (rig, _told) = rig(44, "");
    let refused = open(&rig, "socket", "/refused", &[]).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.headers()["x-why"].as_bytes()), (418, &b"because"[..]));
    // The client leaves when it has seen the head, which may be told of.
    assert!(rig.lines("/refused", 1)[0].starts_with("GET /refused 418 "));
}
