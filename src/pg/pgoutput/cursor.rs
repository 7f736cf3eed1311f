//! Reads big-endian fields off a shared buffer; every read is checked.

use bytes::Bytes;

use super::decode::DecodeError;
use crate::replay::Lsn;

pub(super) struct Cursor {
    message: Bytes,
    at: usize,
}

impl Cursor {
    pub(super) fn new(message: Bytes) -> Self {
        Self { message, at: 0 }
    }

    /// The whole message.
    pub(super) fn message(&self) -> Bytes {
        self.message.clone()
    }

    fn rest(&self) -> &[u8] {
        &self.message[self.at..]
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest().len()
    }

    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&[u8], DecodeError> {
        let taken = self.message[self.at..].get(..bytes).ok_or(DecodeError::Truncated { what })?;
        self.at += bytes;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let taken = self.rest().first_chunk().copied().ok_or(DecodeError::Truncated { what })?;
        self.at += N;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_be_bytes)
    }

    pub(super) fn lsn(&mut self, what: &'static str) -> Result<Lsn, DecodeError> {
        self.array(what).map(u64::from_be_bytes).map(Lsn)
    }

    /// A NUL-terminated name in UTF-8.
    pub(super) fn name(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let end = self.rest().iter().position(|byte| *byte == 0).ok_or(DecodeError::Truncated { what })?;
        let raw = self.take(end + 1, what)?;
        match std::str::from_utf8(&raw[..end]) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError::NotUtf8 { what }),
        }
    }

    /// A signed 32-bit length and that many bytes: where they begin in the message, and how many.
    pub(super) fn extent(&mut self, what: &'static str) -> Result<(u32, u32), DecodeError> {
        let length = self.i32(what)?;
        let length = u32::try_from(length).map_err(|_| DecodeError::Length { what, length })?;
        let at = u32::try_from(self.at).map_err(|_| DecodeError::Count { what: "bytes", count: self.at as u64 })?;
        self.take(length as usize, what)?;
        Ok((at, length))
    }

    /// The same, as a slice of the message.
    pub(super) fn sized(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let (at, length) = self.extent(what)?;
        Ok(self.message.slice(at as usize..(at + length) as usize))
    }
}
