//! The tunnel's parts by table and property, and whole tunnels over symbolic sessions.
mod ends;
mod floods;
mod flow;
mod packing;
mod two;
