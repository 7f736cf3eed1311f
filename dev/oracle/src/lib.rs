//! Nothing here: see tests/alike.rs.
