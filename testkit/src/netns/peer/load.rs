//! The client of many: opens connections by SOCKS5, holds all of them at once, moves octets on all, and counts ends.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::client::{bulk, by_socks5, open};
use super::script::Script;
use super::wire::{End, HERE, expect};

/// Connections being opened at once: the proxies' listen queues are not the subject.
const OPENING: usize = 256;

/// A load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Connections.
    pub(super) connections: u64,
    /// Octets each sends, and receives; with none, each sends single octets back and forth for ever.
    pub(super) octets: u64,
    /// The SOCKS5 proxy.
    pub(super) via: SocketAddr,
    /// The server.
    pub(super) to: SocketAddr,
    /// For one step of one connection.
    pub(super) patience: Duration,
}

/// Steps all connections take together: a line on stdin is one.
pub(super) type Steps = watch::Receiver<usize>;

impl Load {
    /// Runs it: opens all, says `open N`, at the first step moves the octets, says `moved N`, at the second closes.
    /// Returns how many ended how; `well` is those that did all of it.
    pub(super) async fn run(self, steps: Steps) -> BTreeMap<String, u64> {
        let gate = Arc::new(Semaphore::new(OPENING));
        let (told, mut tell) = mpsc::unbounded_channel();
        let start = Instant::now();
        let tasks: Vec<_> = (0..self.connections)
            .map(|number| {
                let (gate, told, steps) = (Arc::clone(&gate), told.clone(), steps.clone());
                tokio::spawn(async move { self.connection(number, &gate, told, steps).await })
            })
            .collect();
        drop(told);
        let mut steps = BTreeMap::<&str, (u64, Duration)>::new();
        while let Some((what, took)) = tell.recv().await {
            let (count, slowest) = steps.entry(what).or_default();
            *count += 1;
            *slowest = took.max(*slowest);
            if *count == self.connections {
                let all = start.elapsed().as_millis();
                println!("{what} {count} after {all} ms, the slowest took {} ms", slowest.as_millis());
            }
        }
        let mut ends = BTreeMap::new();
        for task in tasks {
            let end = match task.await {
                Ok(Ok(())) => "well".to_owned(),
                Ok(Err(end)) => end.to_string(),
                Err(_) => "panicked".to_owned(),
            };
            *ends.entry(end).or_default() += 1;
        }
        ends
    }

    async fn connection(
        self,
        number: u64,
        gate: &Semaphore,
        told: mpsc::UnboundedSender<(&'static str, Duration)>,
        mut steps: Steps,
    ) -> Result<(), End> {
        let script = match self.octets {
            0 => Script::Echo,
            octets => Script::Bulk { up: octets, down: octets, seed: number },
        };
        // Both fail only with the process.
        let permit = gate.acquire().await;
        let start = Instant::now();
        let opening = async {
            let mut stream = by_socks5(self.via, self.to).await?;
            open(&mut stream, script).await?;
            match self.octets {
                0 => pingpong(&mut stream).await?,
                _ => expect(&mut stream, HERE).await?,
            }
            Ok::<TcpStream, End>(stream)
        };
        let mut stream = timeout(self.patience, opening).await.unwrap_or(Err(End::Silence))?;
        drop(permit);
        let _ = told.send(("open", start.elapsed()));
        if self.octets == 0 {
            loop {
                timeout(self.patience, pingpong(&mut stream)).await.unwrap_or(Err(End::Silence))?;
            }
        }
        let _ = steps.wait_for(|step| *step >= 1).await;
        let start = Instant::now();
        let moving = bulk(&mut stream, self.octets, self.octets, number);
        timeout(self.patience, moving).await.unwrap_or(Err(End::Silence))?;
        let _ = told.send(("moved", start.elapsed()));
        let _ = steps.wait_for(|step| *step >= 2).await;
        Ok(())
    }
}

async fn pingpong(stream: &mut TcpStream) -> Result<(), End> {
    stream.write_u8(HERE).await?;
    if stream.read_u8().await? == HERE { Ok(()) } else { Err(End::Wrong) }
}
