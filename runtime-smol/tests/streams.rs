//! Shards on threads, and streams as smol knows them.
use std::sync::Mutex;

use std::net::SocketAddr;

use adit_core::identity::Identity;
use adit_core::proxy::{Listener, Observed};
use adit_runtime::conformance::Relay;
use adit_runtime::{
    Crew, DriveConfig, ListenerSpec, LocalListeners, Questions, Setup, SocketOptions, Transparency,
};
use adit_smol::{Incoming, Stream, spawn_shards};
use async_io::Async;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn shards_share_a_listener_and_carry_streams() {
    let here = SocketAddr::from(([192, 0, 2, 1], 80));
    let spec = ListenerSpec {
        listener: Listener::Outbound,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        transparency: Transparency::Try,
        reuse_port: false,
    };
    let bound = spec.bind(&SocketOptions::default()).unwrap();
    let address = bound.local_addr().unwrap();
    let shares = Mutex::new(bound.share(&Crew::new(2), 0));
    let local_listeners = LocalListeners::default();
    let mut incoming = Incoming::from(local_listeners.listen(here).unwrap());
    let shards = spawn_shards(2, move |_, mailbox| {
        Ok(Setup {
            engine: Relay::to(here),
            observer: |_: Observed| {},
            certificates: |_: &Identity| Err("the relay asks for no certificate".into()),
            questions: Questions::default(),
            listeners: shares.lock().unwrap().pop().into_iter().collect(),
            mailbox,
            config: DriveConfig { local_listeners: local_listeners.clone(), ..DriveConfig::default() },
        })
    })
    .unwrap();

    async_io::block_on(async {
        for handle in shards.handles() {
            let mut near = Stream::from(handle.connect(here, here).unwrap());
            near.write_all(b"question").await.unwrap();
            near.close().await.unwrap();
            let mut far = incoming.accept().await;
            let mut octets = Vec::new();
            far.read_to_end(&mut octets).await.unwrap();
            assert_eq!(octets, b"question");
            far.write_all(b"answer").await.unwrap();
            drop(far);
            octets.clear();
            near.read_to_end(&mut octets).await.unwrap();
            assert_eq!(octets, b"answer");
        }
        for round in 0..20 {
            let mut client = Async::<std::net::TcpStream>::connect(address).await.unwrap();
            let mut far = incoming.accept().await;
            client.write_all(&[round]).await.unwrap();
            let mut octets = [0];
            far.read_exact(&mut octets).await.unwrap();
            assert_eq!(octets, [round]);
            far.reset();
        }
    });
    shards.drain();
    shards.join().unwrap();
}
