//! Reading: one vectored read per ready socket and turn, straight into what the shard lends.
use std::task::{Context, Poll};

use adit_core::proxy::SocketId;

use super::Drive;
use crate::engine::Engine;
use crate::ports::{CertificateSource, Observer};
use crate::ready::Key;
use crate::runtime::Runtime;
use crate::slots::{Reading, Tried, Writing};

impl<R, E, O, C> Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    /// Reads from `id` until it has no more, the shard takes no more, or the budget is used up. Leaves the socket's
    /// waker with the reactor in the first case, and only then.
    pub(super) fn read(&mut self, id: SocketId) {
        let mut budget = self.config.read_budget;
        while let Some((connection, notifier)) = self.slots.get(id) {
            if connection.writing == Writing::Connecting {
                return;
            }
            match connection.reading {
                Reading::Wanted => {}
                Reading::Paused => return self.watch(id),
                Reading::Ended => return,
            }
            if budget == 0 {
                return self.again.push_back(Key::Socket(id.index));
            }
            let mut cx = Context::from_waker(notifier.waker());
            let engine = &mut self.engine;
            let Poll::Ready(tried) = connection.transport.poll_read(&mut cx, |read| {
                engine.lend(id, read);
            }) else {
                return;
            };
            match tried {
                Tried::Nothing => {
                    connection.reading = Reading::Paused;
                    return self.watch(id);
                }
                Tried::Moved(0) => {
                    connection.reading = Reading::Ended;
                    self.engine.handle_eof(self.now, id);
                }
                Tried::Moved(n) => {
                    budget = budget.saturating_sub(n);
                    self.budget = self.budget.saturating_sub(n);
                    self.engine.handle_read(self.now, id, n);
                }
                Tried::Again => {}
                Tried::Failed(error) => self.fail(id, &error),
            }
            self.settle();
        }
    }

    /// Looks for a reset on a socket that is not read, which a read would have met; where the reactor can tell, it wakes
    /// the loop for one.
    fn watch(&mut self, id: SocketId) {
        let Some((connection, notifier)) = self.slots.get(id) else { return };
        let mut cx = Context::from_waker(notifier.waker());
        if connection.transport.poll_hangup(&mut cx).is_ready()
            && let Some(error) = connection.transport.error()
        {
            self.fail(id, &error);
            self.settle();
        }
    }

    /// The shard has room again.
    pub(super) fn resume_read(&mut self, id: SocketId) {
        if let Some((connection, _)) = self.slots.get(id)
            && connection.reading == Reading::Paused
        {
            connection.reading = Reading::Wanted;
            self.soon.push_back(id);
        }
    }
}
