//! Random changes of a sample, near the edges that rules look at.

use crate::field::Encoding;
use crate::sample::{Guest, Sample, Setting};
use proptest::collection::vec;
use proptest::prelude::*;

/// A change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A bit of a field is inverted.
    Flip(Encoding, u8),
    /// A field gets a value.
    Write(Encoding, u64),
    /// Something beside the fields.
    Set(Setting),
}

impl Change {
    pub(super) fn apply(&self, sample: &mut Sample) {
        match *self {
            Self::Flip(field, bit) => sample.vmcs.write(field, sample.vmcs.read(field) ^ 1 << bit),
            Self::Write(field, value) => sample.vmcs.write(field, value),
            Self::Set(setting) => setting.apply(sample),
        }
    }
}

pub(super) fn some_field() -> impl Strategy<Value = Encoding> {
    proptest::sample::select(Encoding::ALL)
}

/// Values that events, access rights, addresses and registers have.
fn some_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..32_u64,
        (0..8_u64, 0..34_u64, 0..4_u64)
            .prop_map(|(event, vector, more)| 1 << 31 | event << 8 | vector | more << 11),
        (0..0x100_u64, 0..16_u64, any::<bool>())
            .prop_map(|(low, high, unusable)| low | high << 12 | u64::from(unusable) << 16),
        proptest::sample::select(
            &[0x9000, 0xa000, 0xb000, 0xc000, 0x1000, u64::MAX, 0x2_0002, 0x500, 0x2020][..]
        ),
        (0..64_u8).prop_map(|bit| 1 << bit),
    ]
}

pub(super) fn write() -> impl Strategy<Value = Change> {
    prop_oneof![
        (some_field(), 0..64_u8).prop_map(|(field, bit)| Change::Flip(field, bit)),
        (some_field(), some_value()).prop_map(|(field, value)| Change::Write(field, value)),
    ]
}

fn setting() -> impl Strategy<Value = Change> {
    proptest::sample::select(Setting::ALL).prop_map(Change::Set)
}

/// A sample with a few changes; often still valid.
pub(super) fn some_sample() -> impl Strategy<Value = Sample> {
    let guest = proptest::sample::select(&Guest::ALL[..]);
    let changes = vec(prop_oneof![4 => write(), 1 => setting()], 0..8);
    (guest, changes).prop_map(|((guest, _), changes)| {
        let mut sample = Sample::of(guest);
        changes.iter().for_each(|change| change.apply(&mut sample));
        sample
    })
}
