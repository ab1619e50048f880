//! Two proxies on tokio in this process, and a connection of an application through both of them.
//!
//! The client's application never opens a socket: it asks its proxy for a stream ([`Handle::connect`]) and gets something
//! that reads and writes like one. Its proxy routes the stream by the mesh's tables to the server's proxy, in a tunnel with
//! mutual TLS over TCP on loopback. That proxy asks the policy and delivers the stream to the server's application, which
//! has no socket either ([`LocalListeners`]).
//!
//! Run it with `cargo run -p adit-examples --bin tokio`; `smol.rs` is the same on smol.
//!
//! [`Handle::connect`]: adit_runtime::Handle::connect
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};

use adit_core::identity::Identity;
use adit_core::proxy::Listener;
use adit_core::proxy::observed::{Direction, Observed};
use adit_examples::{CLIENT, SERVER, World};
use adit_runtime::{DriveConfig, ListenerSpec, LocalListeners, Setup, SocketOptions, Transparency};
use adit_tokio::{Incoming, Stream, spawn_shards};
use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // From now on whoever should dial the server's application delivers a stream here.
    let local_listeners = LocalListeners::default();
    let mut incoming = Incoming::from(local_listeners.listen(SERVER)?);

    // Where the server's proxy takes tunnels, on a port that is free.
    let hbone = ListenerSpec {
        listener: Listener::InboundHbone,
        address: SocketAddr::new(SERVER.ip(), 0),
        transparency: Transparency::Never,
        reuse_port: false,
    };
    let hbone = hbone.bind(&SocketOptions::default())?;
    let hbone_port = hbone.local_addr()?.port();

    // One shard is one proxy on one thread. More cores would get more shards, all with the same workload.
    let world = Arc::new(World::new()?);
    let (observer, observed) = mpsc::channel();
    let listeners = Mutex::new([vec![], vec![hbone]]);
    let shards = spawn_shards(2, move |index, mailbox| {
        let name = ["client", "server"][index];
        let listeners = mem::take(&mut listeners.lock().expect("nobody panics while holding it")[index]);
        let (world, observer) = (world.clone(), observer.clone());
        Ok(Setup {
            engine: world.shard(name, hbone_port),
            listeners,
            mailbox,
            config: DriveConfig {
                wall_clock: Some(world.clock.clone()),
                local_listeners: local_listeners.clone(),
                ..DriveConfig::default()
            },
            certificates: move |identity: &Identity| world.certificate(identity),
            questions: Default::default(),
            // It fails when main has ended and nobody wants to know any more.
            observer: move |event: Observed| drop(observer.send(event)),
        })
    })?;

    let server = async {
        let mut stream = incoming.accept().await;
        let mut question = String::new();
        stream.read_to_string(&mut question).await?;
        stream.write_all(question.to_uppercase().as_bytes()).await?;
        stream.shutdown().await
    };
    let client = async {
        let mut stream =
            Stream::from(shards.handles()[0].connect(CLIENT, SERVER).map_err(std::io::Error::other)?);
        stream.write_all(b"hello through the mesh").await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let (answer, ()) = tokio::try_join!(client, server)?;
    println!("the answer: {answer}");
    ensure!(answer == "HELLO THROUGH THE MESH", "the answer is not the question in capitals");

    // Lets connections end, says GOAWAY, closes the tunnels.
    shards.drain();
    shards.join()?;

    let events: Vec<Observed> = observed.try_iter().collect();
    events.iter().for_each(|event| println!("{event:?}"));
    let caller = World::identity("client")?;
    let from_caller = |event: &Observed| match event {
        Observed::TunnelOpened { direction, peer, .. } => *direction == Direction::Inbound && *peer == caller,
        _ => false,
    };
    ensure!(events.iter().any(from_caller), "the server's proxy does not know who called");
    let well = |event: &&Observed| matches!(event, Observed::ConnectionClosed { error: None, .. });
    ensure!(events.iter().filter(well).count() == 2, "the two proxies do not say that all went well");
    Ok(())
}
