//! Reads headers and checks strings.

use super::error::{Place, Problem, Refusal};
use zerocopy::FromBytes;

/// `bytes` of a file from `offset`.
pub(super) fn slice(file: &[u8], place: Place, offset: u64, bytes: u64) -> Result<&[u8], Refusal> {
    let range = usize::try_from(offset).ok().zip(usize::try_from(bytes).ok());
    let range = range.and_then(|(offset, bytes)| Some(offset..offset.checked_add(bytes)?));
    range
        .and_then(|range| file.get(range))
        .ok_or_else(|| place.refused(Problem::Truncated { offset, needs: bytes, has: file.len() as u64 }))
}

/// A structure of a file at `offset`.
pub(super) fn header<T: FromBytes>(file: &[u8], place: Place, offset: u64) -> Result<T, Refusal> {
    let needs = size_of::<T>() as u64;
    let bytes = slice(file, place.clone(), offset, needs)?;
    let truncated = Problem::Truncated { offset, needs, has: file.len() as u64 };
    T::read_from_bytes(bytes).map_err(|_| place.refused(truncated))
}

/// Refuses a string that holds a byte of 0.
pub(super) fn check_string(place: Place, text: &str) -> Result<(), Refusal> {
    match text.bytes().position(|byte| byte == 0) {
        Some(at) => Err(place.refused(Problem::Nul(at))),
        None => Ok(()),
    }
}

/// A string with the byte of 0 that ends it.
pub(super) fn terminated(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

/// An address that a field of 32 bits must hold.
pub(super) fn address32(place: Place, address: u64) -> Result<u32, Refusal> {
    u32::try_from(address).map_err(|_| place.unexpected(address, "an address below 4 GiB"))
}
