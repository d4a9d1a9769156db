//! The double-fault table (SDM Vol. 3A, tables 7-4 and 7-5).
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::event::{Event, EventKind, Exception, Vector};
use isa::system::{Combined, combine};

const VECTORS: [Vector; 20] = [
    Vector::DivideError,
    Vector::Debug,
    Vector::NonMaskableInterrupt,
    Vector::Breakpoint,
    Vector::Overflow,
    Vector::BoundRange,
    Vector::InvalidOpcode,
    Vector::DeviceNotAvailable,
    Vector::DoubleFault,
    Vector::InvalidTss,
    Vector::SegmentNotPresent,
    Vector::StackFault,
    Vector::GeneralProtection,
    Vector::PageFault,
    Vector::FloatingPoint,
    Vector::AlignmentCheck,
    Vector::MachineCheck,
    Vector::SimdFloatingPoint,
    Vector::Virtualization,
    Vector::ControlProtection,
];
/// For each vector: b benign, c contributory, p page fault, d the double fault.
const CLASSES: &[u8; 20] = b"cbbbbbbbdccccpbbbbpc";

/// Rows: the class of the first; columns: of the second, b c p. s serially, d double fault, t triple fault.
const TABLE: [(u8, &[u8; 3]); 4] = [(b'b', b"sss"), (b'c', b"sds"), (b'p', b"sdd"), (b'd', b"stt")];

#[test]
fn exceptions_combine_as_the_table_says() {
    for (first, class) in VECTORS.into_iter().zip(CLASSES) {
        for (second, column) in VECTORS.into_iter().zip(CLASSES) {
            let Some(column) = b"bcp".iter().position(|c| c == column) else { continue };
            let (_, row) = TABLE.iter().find(|(c, _)| c == class).unwrap();
            let expected = match row[column] {
                b's' => Combined::Serially,
                b'd' => Combined::DoubleFault,
                _ => Combined::TripleFault,
            };
            let event = Event::exception(&Exception::plain(first));
            assert_eq!(combine(&event, &Exception::plain(second)), expected, "{first:?} {second:?}");
        }
    }
}

#[test]
fn interrupts_and_software_events_are_benign_whatever_their_vector_is() {
    let second = Exception::with_code(Vector::GeneralProtection, 0);
    for vector in 0..=255 {
        assert_eq!(combine(&Event::external(vector), &second), Combined::Serially);
        for kind in [EventKind::SoftwareInterrupt, EventKind::SoftwareException] {
            assert_eq!(combine(&Event::software(vector, kind, 2), &second), Combined::Serially);
        }
    }
}
