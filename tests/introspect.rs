//! Introspection and the mid-copy shape line against real servers of every major that is installed.

#![allow(clippy::unwrap_used)]

#[path = "introspect/every_major.rs"]
mod every_major;
#[path = "introspect/session.rs"]
mod session;
mod support;
#[path = "introspect/zoo.rs"]
mod zoo;
