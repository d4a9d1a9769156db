//! The columns of a `steps` section and the values of the control column.

/// Columns, each compressed on its own because each has its own statistics.
pub(crate) const COLUMNS: usize = 12;

/// Addresses and bytes of instructions, in the order of their first execution.
pub(crate) const DICTIONARY: usize = 0;
/// How many steps went as expected, and what the next one does otherwise.
pub(crate) const CONTROL: usize = 1;
/// How each value of a general-purpose register came about.
pub(crate) const GPR_TAGS: usize = 2;
/// The bytes of those that could not be expected.
pub(crate) const GPR_VALUES: usize = 3;
/// RFLAGS.
pub(crate) const FLAGS: usize = 4;
/// How the address of each store came about.
pub(crate) const ADDRESS_TAGS: usize = 5;
/// The bytes of those that could not be expected.
pub(crate) const ADDRESS_VALUES: usize = 6;
/// Where the content of each store came from.
pub(crate) const STORE_TAGS: usize = 7;
/// The bytes of those that could not be expected.
pub(crate) const STORE_VALUES: usize = 8;
/// How each value of an XMM register came about.
pub(crate) const XMM_TAGS: usize = 9;
/// The bytes of those that could not be expected.
pub(crate) const XMM_VALUES: usize = 10;
/// Rare registers, and RIP after a step that is not followed by the step at that address.
pub(crate) const RARE_VALUES: usize = 11;

/// A step of this kind has another set of written registers or stores than before.
pub(crate) const SHAPE: u8 = 1;
/// The step is taken from the record.
pub(crate) const TAKEN: u8 = 2;
/// RIP after the step is given, because the next step is elsewhere or there is none in this chunk.
pub(crate) const BREAK: u8 = 4;
/// The other instruction follows that is known to follow this one.
pub(crate) const SECOND: u8 = 8;
/// The number of the instruction that follows is given; 0 is a new one.
pub(crate) const GIVEN: u8 = 16;
/// No step follows in this chunk.
pub(crate) const LAST: u8 = 32;
/// Every bit that has a meaning.
pub(crate) const KNOWN: u8 = 63;

/// Ways in which a value came about. A tag is one of these, or a group plus a register or length.
pub(crate) mod tag {
    /// The former value plus what was added last time.
    pub(crate) const STRIDE: u8 = 0;
    /// The same as last time.
    pub(crate) const SAME: u8 = 1;
    /// The same register as last time holds it (for an address: lies as far from it as last time).
    pub(crate) const SOURCE: u8 = 2;
    /// The address of the next instruction in sequence.
    pub(crate) const RETURN: u8 = 3;
    /// Zero.
    pub(crate) const ZERO: u8 = 4;
    /// The low four bytes are given, the others stay.
    pub(crate) const LOW_4: u8 = 5;
    /// The low eight bytes are given, the others stay.
    pub(crate) const LOW_8: u8 = 6;
    /// The low four bytes are given, the others are zero.
    pub(crate) const ONLY_4: u8 = 7;
    /// The low eight bytes are given, the others are zero.
    pub(crate) const ONLY_8: u8 = 8;
    /// Eight bytes are given and stand twice.
    pub(crate) const TWICE_8: u8 = 9;
    /// All bytes are given.
    pub(crate) const ALL: u8 = 10;
    /// The general-purpose register with the number in the low four bits holds it.
    pub(crate) const GPR: u8 = 16;
    /// The XMM register with the number in the low four bits holds it.
    pub(crate) const XMM: u8 = 32;
    /// The difference to the former value follows in as many bytes as the low four bits say.
    pub(crate) const FROM_FORMER: u8 = 48;
    /// The difference to the last value follows in as many bytes as the low four bits say.
    pub(crate) const FROM_LAST: u8 = 64;
    /// The value follows in as many bytes as the low four bits say.
    pub(crate) const GIVEN: u8 = 80;
}
