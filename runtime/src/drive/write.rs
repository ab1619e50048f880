//! Writing: everything the shard has for a socket in one vectored write.
use std::io::IoSlice;
use std::task::{Context, Poll};

use adit_core::proxy::SocketId;
use smallvec::SmallVec;

use super::Drive;
use crate::engine::{Engine, MAX_SLICES};
use crate::ports::{CertificateSource, Observer};
use crate::runtime::Runtime;
use crate::slots::{Tried, Writing};

impl<R, E, O, C> Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    /// Writes what the shard has for `id` until there is no more or the socket takes no more. The caller
    /// settles.
    pub(super) fn write(&mut self, id: SocketId) {
        while let Some((connection, notifier)) = self.slots.get(id) {
            if connection.writing != Writing::Open {
                // Connecting, blocked or at its end: in each case the shard has heard or will hear of it.
                return;
            }
            let slices: SmallVec<[IoSlice<'_>; MAX_SLICES]> =
                self.engine.wire(id).take(MAX_SLICES).map(IoSlice::new).collect();
            let octets = slices.iter().map(|slice| slice.len()).sum::<usize>();
            if octets == 0 {
                if connection.shutdown_wanted {
                    connection.writing = Writing::Ended;
                    connection.transport.shutdown_write();
                }
                return;
            }
            let mut cx = Context::from_waker(notifier.waker());
            let tried = connection.transport.poll_write(&mut cx, &slices, octets);
            drop(slices);
            match tried {
                Poll::Pending => {
                    connection.writing = Writing::Blocked;
                    return self.engine.handle_write_blocked(self.now, id);
                }
                Poll::Ready(Tried::Moved(n)) => self.engine.handle_written(self.now, id, n),
                Poll::Ready(Tried::Nothing | Tried::Again) => {}
                Poll::Ready(Tried::Failed(error)) => return self.fail(id, &error),
            }
        }
    }

    /// FIN follows what is still to be written, which may be nothing.
    pub(super) fn shutdown_write(&mut self, id: SocketId) {
        let Some((connection, _)) = self.slots.get(id) else { return };
        connection.shutdown_wanted = true;
        if connection.writing == Writing::Open && self.engine.wire(id).next().is_none() {
            connection.writing = Writing::Ended;
            connection.transport.shutdown_write();
        }
    }

    /// Looks whether a blocked socket takes octets again; what the shard has goes out with the turn's flush.
    /// The caller settles.
    pub(super) fn unblock(&mut self, id: SocketId) {
        let Some((connection, notifier)) = self.slots.get(id) else { return };
        let mut cx = Context::from_waker(notifier.waker());
        let Poll::Ready(ready) = connection.transport.poll_writable(&mut cx) else { return };
        if let Err(error) = ready {
            return self.fail(id, &error);
        }
        connection.writing = Writing::Open;
        let shutdown = connection.shutdown_wanted;
        self.engine.handle_writable(self.now, id);
        if shutdown {
            self.shutdown_write(id);
        }
    }
}
