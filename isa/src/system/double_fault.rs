//! An exception while an event is being delivered (SDM Vol. 3A, 7.15, interrupt 8, tables 7-4 and 7-5).

use crate::event::{Event, EventKind, Exception, Vector};

/// What becomes of an event and of the exception that its delivery raised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Combined {
    /// The exception is delivered; the event is lost, or comes again when its instruction is started again.
    Serially,
    /// A double fault is delivered, with error code 0.
    DoubleFault,
    /// The processor shuts down.
    TripleFault,
}

/// The classes of events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventClass {
    /// It never makes a double fault.
    Benign,
    /// Two of them make a double fault.
    Contributory,
    /// It makes a double fault with itself and a contributory exception behind it.
    PageFault,
    /// The double fault itself.
    DoubleFault,
}

impl EventClass {
    /// The class of a hardware exception.
    #[must_use]
    pub const fn of_vector(vector: u8) -> Self {
        match vector {
            8 => Self::DoubleFault,
            0 | 10..=13 | 21 => Self::Contributory,
            14 | 20 => Self::PageFault,
            _ => Self::Benign,
        }
    }

    /// The class of an event: interrupts and software events are benign whatever their vector is.
    #[must_use]
    pub const fn of(event: &Event) -> Self {
        match event.kind {
            EventKind::HardwareException => Self::of_vector(event.vector),
            _ => Self::Benign,
        }
    }
}

/// What becomes of `first`, during whose delivery `second` was raised.
///
/// ```
/// use isa::event::{Event, Exception, Vector};
/// use isa::system::{Combined, combine};
///
/// let divide = Event::exception(&Exception::plain(Vector::DivideError));
/// let absent = Exception::with_code(Vector::SegmentNotPresent, 8);
/// assert_eq!(combine(&divide, &absent), Combined::DoubleFault);
/// assert_eq!(combine(&Event::external(32), &absent), Combined::Serially);
/// ```
#[must_use]
pub const fn combine(first: &Event, second: &Exception) -> Combined {
    use EventClass::{Benign, Contributory, DoubleFault, PageFault};
    match (EventClass::of(first), EventClass::of_vector(second.vector as u8)) {
        (DoubleFault, Contributory | PageFault | DoubleFault) => Combined::TripleFault,
        (Benign | DoubleFault, _) | (_, Benign) | (Contributory, PageFault) => Combined::Serially,
        (Contributory | PageFault, Contributory | PageFault | DoubleFault) => Combined::DoubleFault,
    }
}

impl Event {
    /// The double fault.
    pub const DOUBLE_FAULT: Self = Self::exception(&Exception::with_code(Vector::DoubleFault, 0));
}
