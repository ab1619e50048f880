//! The one answer to a shard's request, for whoever will have it later.
use crate::mailbox::Handle;

/// The right, and the duty, to answer one request of a shard, named by `K`, with an `A`. Dropped without an answer it answers
/// that the request was given up, so that no connection waits for ever.
#[derive(Debug)]
pub struct Reply<K, A> {
    pending: Option<(Handle, K)>,
    post: fn(&Handle, K, A),
    given_up: fn() -> A,
}

impl<K, A> Reply<K, A> {
    pub(crate) const fn new(handle: Handle, asked: K, post: fn(&Handle, K, A), given_up: fn() -> A) -> Self {
        Self { pending: Some((handle, asked)), post, given_up }
    }

    /// Answers. Whoever has given up waiting does not notice.
    pub fn send(mut self, answer: A) {
        self.answer(answer);
    }

    fn answer(&mut self, answer: A) {
        if let Some((handle, asked)) = self.pending.take() {
            (self.post)(&handle, asked, answer);
        }
    }
}

impl<K, A> Drop for Reply<K, A> {
    fn drop(&mut self) {
        let given_up = self.given_up;
        self.answer(given_up());
    }
}
