//! The rules, by family of types. Each returns `None` for pairs that are not its own.

pub(super) mod enums;
pub(super) mod number;
pub(super) mod other;
pub(super) mod text;
pub(super) mod time;
