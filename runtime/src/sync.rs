//! What threads share: `std`'s primitives, or loom's where every interleaving of them is explored (`--cfg loom`).
#[cfg(not(loom))]
mod chosen {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Mutex, MutexGuard};

    pub(crate) use atomic_waker::AtomicWaker;
}

#[cfg(loom)]
mod chosen {
    use std::task::Waker;

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// Loom's waker behind the interface of `atomic_waker`: its contract is relied on here, its inside is not checked.
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self(loom::future::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }
    }

    impl Default for AtomicWaker {
        fn default() -> Self {
            Self::new()
        }
    }
}

pub(crate) use chosen::*;
