//! Shards' questions for host names.

use std::sync::Arc;

use adit_control::dns::Names;
use adit_core::dns::NameScope;
use adit_core::proxy::ProxyId;
use adit_runtime::{NameReply, NameSource};

/// A shard's way to the node's resolver.
#[derive(Clone, Debug)]
pub struct NodeNames(pub Names);

impl NameSource for NodeNames {
    fn request(&mut self, _: ProxyId, name: &Arc<str>, scope: NameScope, reply: NameReply) {
        self.0.request(name, scope, move |found| reply.send(found));
    }
}
