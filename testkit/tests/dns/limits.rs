//! What a client of the TCP side may cost: time, places, questions under way (datapath §7.1, RFC 7766 §6.2).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::rig::{
    Proxy, describe, framed, knows_nothing, mesh, name_server, query, read_message, response, script, silent,
};

const A: u16 = 1;
const TXT: u16 = 16;
/// How long a connection may rest, or take over a question, or leave an answer unread.
const IDLE: Duration = Duration::from_secs(5);
/// Connections at one time.
const CONNECTIONS: usize = 256;
/// Questions of one connection under way.
const UNDER_WAY: usize = 32;

async fn proxy() -> Proxy {
    Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), vec![name_server(knows_nothing()).await])
}

/// How long it takes until the server closes.
async fn end(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    let end = stream.read(&mut [0; 1]).await;
    assert!(!matches!(end, Ok(1..)), "nobody has said anything");
    since.elapsed()
}

/// Somewhat later than it should be, as deadlines of tokio are a millisecond coarse.
#[track_caller]
fn about(took: Duration, expected: Duration) {
    assert!(took >= expected && took < expected + Duration::from_millis(100), "{took:?}");
}

// The clock stands still while there is anything to do, and leaps to the next deadline when there is not.
#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed() {
    let proxy = proxy().await;
    let mut stream = proxy.connect().await;
    about(end(&mut stream).await, IDLE);
    // After an answer it may rest as long again.
    let mut stream = proxy.connect().await;
    sleep(IDLE - Duration::from_secs(1)).await;
    stream.write_all(&framed(&query("local.io", A))).await.unwrap();
    assert_eq!(describe(&read_message(&mut stream).await.unwrap()), "ours NoError local.io. 1.1.1.1");
    about(end(&mut stream).await, IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_comes_octet_by_octet_gets_no_more_time() {
    let proxy = proxy().await;
    // Behind a length that promises more than ever comes, and with nothing but half a length.
    for question in [framed(&[0; 65_535]), vec![0]] {
        let stream = proxy.connect().await;
        let (mut reader, mut writer) = stream.into_split();
        let dripping = tokio::spawn(async move {
            for octet in question {
                if writer.write_all(&[octet]).await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
            sleep(2 * IDLE).await;
        });
        let since = Instant::now();
        let _ = reader.read(&mut [0; 1]).await;
        about(since.elapsed(), IDLE);
        dripping.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answers_is_cut_and_others_are_served() {
    let server = name_server(script(|call| vec![response(call.octets, 0x8180, &[7; 60_000])]));
    let proxy = Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), vec![server.await]);
    let stream = proxy.connect().await;
    let (mut reader, mut writer) = stream.into_split();
    // More than all buffers of the kernel hold.
    let asking = tokio::spawn(async move {
        let mut asked = 0;
        while asked < 2_000 && writer.write_all(&framed(&query("x.example", TXT))).await.is_ok() {
            asked += 1;
        }
        asked
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(describe(&proxy.ask_udp(&query("local.io", A)).await), "ours NoError local.io. 1.1.1.1");
    sleep(2 * IDLE).await;
    let mut answers = Vec::new();
    let _ = reader.read_to_end(&mut answers).await;
    asking.abort();
    assert!(answers.len() < 2_000 * 60_000 / 2, "{} octets came", answers.len());
    assert_eq!(describe(&proxy.ask_tcp(&query("local.io", A)).await), "ours NoError local.io. 1.1.1.1");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once_and_one_that_ends_makes_room() {
    let proxy = proxy().await;
    let mut held = vec![];
    for _ in 0..CONNECTIONS {
        let mut stream = proxy.connect().await;
        // It has its place once it was answered.
        stream.write_all(&framed(&query("local.io", A))).await.unwrap();
        assert!(read_message(&mut stream).await.is_some());
        held.push(stream);
    }
    let mut further = proxy.connect().await;
    assert!(end(&mut further).await < IDLE);
    // Datagrams have no such limit.
    assert_eq!(describe(&proxy.ask_udp(&query("local.io", A)).await), "ours NoError local.io. 1.1.1.1");
    held.pop();
    for _ in 0..1_000 {
        let mut next = proxy.connect().await;
        let _ = next.write_all(&framed(&query("local.io", A))).await;
        if read_message(&mut next).await.is_some() {
            return;
        }
    }
    panic!("its place was not given back");
}

#[tokio::test]
async fn questions_of_one_connection_wait_while_thirty_two_are_under_way() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let silence = silent();
    let server = name_server(script(move |call| {
        count.fetch_add(1, Ordering::Relaxed);
        silence(call)
    }));
    let local = mesh(&[("ns1/local.io", &["1.1.1.1"])]);
    let proxy = Proxy::start_with(local, vec![server.await], "127.0.0.1:0", |setup| {
        setup.forwarder.timeout = Duration::from_secs(3600);
    });
    let mut stream = proxy.connect().await;
    for id in 0..100 {
        let mut asked = query("x.example", A);
        asked[1] = id;
        stream.write_all(&framed(&asked)).await.unwrap();
    }
    while calls.load(Ordering::Relaxed) < UNDER_WAY {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        proxy.ask_tcp(&query("local.io", A)).await;
    }
    assert_eq!(calls.load(Ordering::Relaxed), UNDER_WAY);
}

#[tokio::test]
async fn the_longest_question_and_answer_are_relayed_whole() {
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let record = Arc::clone(&seen);
    let server = name_server(script(move |call| {
        *record.lock().unwrap() = call.octets.to_vec();
        vec![response(call.octets, 0x8180, &[])]
    }));
    let proxy = Proxy::start(mesh(&[]), vec![server.await]);
    let mut asked = query("x.example", TXT);
    asked.resize(65_535, 9);
    assert_eq!(proxy.ask_tcp(&asked).await, response(&asked, 0x8180, &[]));
    assert!(seen.lock().unwrap()[2..] == asked[2..], "to the server");
}
