//! The bounded queue between those who log and the one thread that writes. Events wait while it is full, as upstream's do;
//! lines of a waypoint's access log do not: they are dropped and counted.
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Sink, Stream};

/// Lines the queue holds before those who log have to wait.
pub const QUEUE_LINES: usize = 10_000;
/// Octets gathered for one write.
const BATCH: usize = 64 * 1024;

enum Item {
    Line(Stream, Box<[u8]>),
    /// Write everything before this, then answer.
    Flush(SyncSender<()>),
    Stop,
}

/// The sending end: a [`Sink`] for the line layer.
#[derive(Debug)]
pub struct Queue {
    sender: SyncSender<Item>,
    colour_access: bool,
    colour_process: bool,
}

/// Ends the writing thread after it has written everything, when dropped.
#[derive(Debug)]
pub struct LogGuard {
    sender: SyncSender<Item>,
    thread: Option<JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
}

/// A way into the access log past [`tracing`]: for whole lines, and never waiting. Clones share the count of what was dropped.
#[derive(Clone, Debug)]
pub struct AccessLines {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl AccessLines {
    /// Hands a line over, which ends in a line feed; if there is no room for it, it is dropped.
    pub fn offer(&self, line: &[u8]) {
        if self.sender.try_send(Item::Line(Stream::Access, line.into())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were dropped, by all clones.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// Starts the writing thread; access lines go to `out`, all others to `err`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> io::Result<(Self, LogGuard)> {
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        let thread = std::thread::Builder::new()
            .name("adit-log".to_owned())
            .spawn(move || write_lines(&receiver, out, err))?;
        let guard = LogGuard { sender: sender.clone(), thread: Some(thread), dropped: Arc::default() };
        Ok((Self { sender, colour_access: false, colour_process: false }, guard))
    }

    /// Says which of the two streams may carry terminal colours.
    pub const fn colour(&mut self, access: bool, process: bool) {
        self.colour_access = access;
        self.colour_process = process;
    }
}

impl Sink for Queue {
    fn colours(&self, stream: Stream) -> bool {
        match stream {
            Stream::Access => self.colour_access,
            Stream::Process => self.colour_process,
        }
    }

    fn line(&self, stream: Stream, line: &[u8]) {
        // The thread is gone only when the process is ending: there is nobody left to tell.
        let _ = self.sender.send(Item::Line(stream, line.into()));
    }
}

impl LogGuard {
    /// A way for whole lines.
    #[must_use]
    pub fn access(&self) -> AccessLines {
        AccessLines { sender: self.sender.clone(), dropped: Arc::clone(&self.dropped) }
    }

    /// Waits until every line logged before this call has been written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.sender.send(Item::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let _ = self.sender.send(Item::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes until told to stop. A failed write is dropped: a log that cannot be written cannot be complained about.
fn write_lines(receiver: &Receiver<Item>, mut out: impl Write, mut err: impl Write) {
    let mut gathered: [Vec<u8>; 2] = Default::default();
    while let Ok(first) = receiver.recv() {
        let mut next = Some(first);
        let mut answer = None;
        let mut stop = false;
        while let Some(item) = next.take() {
            match item {
                Item::Line(stream, line) => {
                    let [access, process] = &mut gathered;
                    let into = if stream == Stream::Access { access } else { process };
                    into.extend_from_slice(&line);
                    if into.len() < BATCH {
                        next = receiver.try_recv().ok();
                    }
                }
                Item::Flush(done) => answer = Some(done),
                Item::Stop => stop = true,
            }
        }
        let [access, process] = &mut gathered;
        for (bytes, to) in [(access, &mut out as &mut dyn Write), (process, &mut err as &mut dyn Write)] {
            if !bytes.is_empty() {
                let _ = to.write_all(bytes).and_then(|()| to.flush());
                bytes.clear();
            }
        }
        if let Some(done) = answer {
            let _ = done.send(());
        }
        if stop {
            return;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn lines_arrive_in_order_and_are_all_written_when_the_guard_goes() {
        let (out, err) = (Shared::default(), Shared::default());
        let (queue, guard) = Queue::start(out.clone(), err.clone()).unwrap();
        for i in 0..QUEUE_LINES + 1000 {
            queue.line(Stream::Access, format!("{i}\n").as_bytes());
        }
        queue.line(Stream::Process, b"state\n");
        drop(guard);
        let numbers: Vec<usize> = out.text().lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(numbers, (0..QUEUE_LINES + 1000).collect::<Vec<_>>());
        assert_eq!(err.text(), "state\n");
        queue.line(Stream::Access, b"after the end: dropped, not a panic\n");
    }

    /// Lets nothing through until it is dropped.
    struct Closed(Receiver<()>);

    impl Write for Closed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whole_lines_never_wait_and_what_is_dropped_is_counted() {
        let (open, closed) = std::sync::mpsc::channel();
        let (_queue, guard) = Queue::start(Closed(closed), io::sink()).unwrap();
        let lines = guard.access();
        // Beside the queue there is what the writer gathers for one write before it stands.
        for _ in 0..QUEUE_LINES + BATCH {
            lines.offer(b"x\n");
        }
        assert!(guard.access().dropped() > 0);
        drop(open);
    }

    #[test]
    fn flush_waits_for_what_was_logged_before_it() {
        let (out, err) = (Shared::default(), Shared::default());
        let (queue, guard) = Queue::start(out.clone(), err).unwrap();
        queue.line(Stream::Access, b"one\n");
        guard.flush();
        assert_eq!(out.text(), "one\n");
    }
}
