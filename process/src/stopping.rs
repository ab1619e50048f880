//! The end of the process: asked for by signals or the admin pages, heard by shards and by whoever still starts.
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use adit_ops::logging::LogGuard;
use adit_runtime::Handle;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::handover::Handover;

/// Whether the process shall end. Clones share it.
#[derive(Clone, Debug)]
pub struct Stopping(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asked: watch::Sender<bool>,
    shards: Mutex<Vec<Handle>>,
    handover: OnceLock<Handover>,
}

impl Stopping {
    /// Listens to SIGTERM and SIGINT from now on: the first drains, a second SIGINT ends the process there and then.
    pub fn on_signals(guard: Arc<LogGuard>) -> std::io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let stopping = Self(Arc::new(Inner {
            asked: watch::Sender::new(false),
            shards: Mutex::default(),
            handover: OnceLock::new(),
        }));
        let heard = stopping.clone();
        let work = move || {
            let mut interrupts = 0;
            for signal in signals.forever() {
                if signal == SIGINT {
                    interrupts += 1;
                }
                if interrupts > 1 {
                    tracing::warn!("interrupted twice: exiting at once");
                    guard.flush();
                    std::process::exit(0);
                }
                tracing::info!(signal = signal_name(signal), "draining");
                heard.begin();
            }
        };
        std::thread::Builder::new().name("adit-signals".to_owned()).spawn(work)?;
        Ok(stopping)
    }

    /// Begins the drain, as a signal does.
    pub fn begin(&self) {
        let shards = self.0.shards.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.asked.send_replace(true);
        // Before listeners close, or their ports stay open.
        if let Some(handover) = self.0.handover.get() {
            handover.end();
        }
        shards.iter().for_each(Handle::drain);
    }

    /// Nothing is handed over any more once the end is asked for.
    pub fn ends(&self, handover: &Handover) {
        let _shards = self.0.shards.lock().unwrap_or_else(PoisonError::into_inner);
        // Told once, at the start.
        let _ = self.0.handover.set(handover.clone());
        if *self.0.asked.borrow() {
            handover.end();
        }
    }

    /// These shards drain when the end is asked for: at once, if it was.
    pub fn attach(&self, handles: &[Handle]) {
        let mut shards = self.0.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.extend_from_slice(handles);
        if *self.0.asked.borrow() {
            handles.iter().for_each(Handle::drain);
        }
    }

    /// Waits until the end is asked for.
    pub fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = self.0.asked.subscribe();
        async move {
            // Whoever asks lives as long as the process.
            let _ = asked.wait_for(|asked| *asked).await;
        }
    }
}

const fn signal_name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        _ => "SIGTERM",
    }
}
