//! The DNS proxy over sockets: a server on loopback, scripted name servers behind it, clients before it (datapath §7).

mod answering;
mod limits;
mod naming;
mod relaying;
mod rig;
