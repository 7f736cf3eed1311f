//! Reads big-endian fields off a shared buffer; every read is checked.

use bytes::{Buf, Bytes};

use super::decode::DecodeError;
use crate::replay::Lsn;

pub(super) struct Cursor {
    rest: Bytes,
}

impl Cursor {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn need(&self, bytes: usize, what: &'static str) -> Result<(), DecodeError> {
        if self.rest.len() < bytes { Err(DecodeError::Truncated { what }) } else { Ok(()) }
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.need(1, what)?;
        Ok(self.rest.get_u8())
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.need(2, what)?;
        Ok(self.rest.get_u16())
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.need(4, what)?;
        Ok(self.rest.get_u32())
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.need(4, what)?;
        Ok(self.rest.get_i32())
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.need(8, what)?;
        Ok(self.rest.get_i64())
    }

    pub(super) fn lsn(&mut self, what: &'static str) -> Result<Lsn, DecodeError> {
        self.need(8, what)?;
        Ok(Lsn(self.rest.get_u64()))
    }

    /// A NUL-terminated name in UTF-8.
    pub(super) fn name(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Truncated { what })?;
        let raw = self.rest.split_to(end);
        self.rest.advance(1);
        match std::str::from_utf8(&raw) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError::NotUtf8 { what }),
        }
    }

    /// A signed 32-bit length and that many bytes, as a slice of the same buffer.
    pub(super) fn sized(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.i32(what)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Length { what, length })?;
        self.need(length, what)?;
        Ok(self.rest.split_to(length))
    }
}
