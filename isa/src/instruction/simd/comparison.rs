//! Comparisons that answer in flags: PTEST, and the string comparisons PCMPESTRI PCMPESTRM PCMPISTRI PCMPISTRM
//! (SDM Vol. 1, 5.10.11 and 5.11; Vol. 2B, 4.1).

use super::lanes::Lane;
use super::{Aligned, Unaligned, VectorSource, Xmm, immediate8, xmm};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::flags::Rflags;
use crate::operand::Memory;
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::width::Width;
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Ptest => Some(match form.kinds[1] {
            Kind::Xmm => test::<C, Xmm>,
            _ => test::<C, Aligned<Memory>>,
        }),
        Mnemonic::Pcmpistri => string::<C, Implicit, Index>(form),
        Mnemonic::Pcmpistrm => string::<C, Implicit, Mask>(form),
        Mnemonic::Pcmpestri => string::<C, Explicit<u32>, Index>(form),
        Mnemonic::Pcmpestrm => string::<C, Explicit<u32>, Mask>(form),
        Mnemonic::Pcmpestri64 => string::<C, Explicit<u64>, Index>(form),
        Mnemonic::Pcmpestrm64 => string::<C, Explicit<u64>, Mask>(form),
        _ => None,
    }
}

fn test<C: Cpu, S: VectorSource>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let source: u128 = S::load(cpu, record)?;
    let state = cpu.state_mut();
    let destination = xmm(state, record.destination);
    let mut status = Rflags::empty();
    status.set(Rflags::ZF, destination & source == 0);
    status.set(Rflags::CF, !destination & source == 0);
    state.flags.set_status(status);
    Ok(())
}

/// What elements are, by bits 1:0 of the immediate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    UnsignedBytes,
    UnsignedWords,
    SignedBytes,
    SignedWords,
}

impl Format {
    fn of(immediate: u8) -> Self {
        match immediate & 3 {
            0 => Self::UnsignedBytes,
            1 => Self::UnsignedWords,
            2 => Self::SignedBytes,
            _ => Self::SignedWords,
        }
    }

    /// Elements in a register.
    fn count(self) -> usize {
        match self {
            Self::UnsignedBytes | Self::SignedBytes => 16,
            Self::UnsignedWords | Self::SignedWords => 8,
        }
    }

    /// The elements of a register as numbers that compare as the format says.
    fn elements(self, value: u128) -> [i32; 16] {
        let mut elements = [0; 16];
        match self {
            Self::UnsignedBytes => fill(&mut elements, u8::split(value)),
            Self::UnsignedWords => fill(&mut elements, u16::split(value)),
            Self::SignedBytes => fill(&mut elements, i8::split(value)),
            Self::SignedWords => fill(&mut elements, i16::split(value)),
        }
        elements
    }
}

fn fill<L: Into<i32>, const N: usize>(elements: &mut [i32; 16], lanes: [L; N]) {
    for (element, lane) in elements.iter_mut().zip(lanes) {
        *element = lane.into();
    }
}

/// How comparisons are combined, by bits 3:2 of the immediate.
#[derive(Clone, Copy)]
enum Aggregation {
    EqualAny,
    Ranges,
    EqualEach,
    EqualOrdered,
}

impl Aggregation {
    fn of(immediate: u8) -> Self {
        match immediate >> 2 & 3 {
            0 => Self::EqualAny,
            1 => Self::Ranges,
            2 => Self::EqualEach,
            _ => Self::EqualOrdered,
        }
    }
}

/// A string: elements, of which the first `length` are valid, in a register that holds `count`.
#[derive(Clone, Copy)]
struct Text {
    elements: [i32; 16],
    length: usize,
    count: usize,
}

impl Text {
    fn valid(&self) -> &[i32] {
        &self.elements[..self.length.min(16)]
    }

    fn get(&self, at: usize) -> Option<i32> {
        self.valid().get(at).copied()
    }
}

/// IntRes1: bit `j` is the comparison at element `j` of the second string. Elements that are not valid compare as
/// the manual's table says (Vol. 2B, 4.1.6).
fn compare(aggregation: Aggregation, first: &Text, second: &Text) -> u32 {
    let holds = |j: usize| match aggregation {
        Aggregation::EqualAny => second.get(j).is_some_and(|element| first.valid().contains(&element)),
        Aggregation::Ranges => second.get(j).is_some_and(|element| in_a_range(first.valid(), element)),
        Aggregation::EqualEach => first.get(j) == second.get(j),
        Aggregation::EqualOrdered => starts_at(first, second, j),
    };
    (0..second.count).fold(0, |bits, j| bits | u32::from(holds(j)) << j)
}

/// Whether one of the pairs of bounds encloses an element; a pair without its upper bound encloses nothing.
fn in_a_range(bounds: &[i32], element: i32) -> bool {
    bounds.chunks_exact(2).any(|pair| (pair[0]..=pair[1]).contains(&element))
}

/// Whether the first string stands in the second one at `j`; what would be beyond the register counts as equal.
fn starts_at(first: &Text, second: &Text, j: usize) -> bool {
    let within_register = second.count - j;
    let mut needle = first.valid().iter().take(within_register).enumerate();
    needle.all(|(i, &element)| second.get(j + i) == Some(element))
}

/// IntRes2: polarity by bits 5:4 of the immediate; masked polarity leaves what is beyond the second string.
fn polarize(bits: u32, immediate: u8, second: &Text) -> u32 {
    let all = (1 << second.count) - 1;
    let valid = (1 << second.valid().len()) - 1;
    match immediate >> 4 & 3 {
        1 => bits ^ all,
        3 => bits ^ valid,
        _ => bits,
    }
}

/// Where the lengths of the strings come from.
trait Lengths {
    /// The length of the first string, in elements, at most `elements.count`.
    fn of(state: &State, register: Slot, elements: &[i32]) -> usize;
}

/// Up to the first element that is 0.
struct Implicit;
/// The absolute value of a register, at most the register's elements.
struct Explicit<W>(PhantomData<W>);

impl Lengths for Implicit {
    fn of(_: &State, _: Slot, elements: &[i32]) -> usize {
        elements.iter().position(|&element| element == 0).unwrap_or(elements.len())
    }
}

impl<W: Width> Lengths for Explicit<W> {
    fn of(state: &State, register: Slot, elements: &[i32]) -> usize {
        let length = state.get::<W>(register).sign_extend().cast_signed().unsigned_abs();
        usize::try_from(length).unwrap_or(usize::MAX).min(elements.len())
    }
}

/// What becomes of IntRes2.
trait Output {
    fn put(state: &mut State, bits: u32, immediate: u8, format: Format);
}

/// The number of a set bit in ECX: the lowest, or the highest if bit 6 of the immediate is set.
struct Index;
/// A mask in XMM0: of bits, or of elements if bit 6 of the immediate is set.
struct Mask;

impl Output for Index {
    fn put(state: &mut State, bits: u32, immediate: u8, format: Format) {
        let index = match (bits, immediate & 0x40) {
            (0, _) => u32::try_from(format.count()).unwrap_or(0),
            (_, 0) => bits.trailing_zeros(),
            _ => bits.ilog2(),
        };
        state.put(Slot::Rcx, index);
    }
}

impl Output for Mask {
    fn put(state: &mut State, bits: u32, immediate: u8, format: Format) {
        let bit = |i: usize| bits >> i & 1 != 0;
        state.xmm[0] = match (immediate & 0x40, format.count()) {
            (0, _) => bits.into(),
            (_, 16) => super::lanes::from_lanes(|i| -i8::from(bit(i))),
            _ => super::lanes::from_lanes(|i| -i16::from(bit(i))),
        };
    }
}

fn string<C: Cpu, L: Lengths, O: Output>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.kinds[1] {
        Kind::Xmm => compare_strings::<C, L, O, Xmm>,
        _ => compare_strings::<C, L, O, Unaligned<Memory>>,
    })
}

fn compare_strings<C: Cpu, L: Lengths, O: Output, S: VectorSource>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let second: u128 = S::load(cpu, record)?;
    let state = cpu.state_mut();
    let first = xmm(state, record.destination);
    let immediate = immediate8(record);
    let format = Format::of(immediate);
    let first = text::<L>(state, Slot::Rax, format, first);
    let second = text::<L>(state, Slot::Rdx, format, second);
    let bits = compare(Aggregation::of(immediate), &first, &second);
    let bits = polarize(bits, immediate, &second);
    O::put(state, bits, immediate, format);
    state.flags.set_status(status(bits, &first, &second));
    Ok(())
}

fn text<L: Lengths>(state: &State, register: Slot, format: Format, value: u128) -> Text {
    let (elements, count) = (format.elements(value), format.count());
    Text { elements, length: L::of(state, register, &elements[..count]), count }
}

/// CF: there is a match; ZF and SF: the second or first string ends within its register; OF: the first match bit.
fn status(bits: u32, first: &Text, second: &Text) -> Rflags {
    let mut status = Rflags::empty();
    status.set(Rflags::CF, bits != 0);
    status.set(Rflags::ZF, second.length < second.count);
    status.set(Rflags::SF, first.length < first.count);
    status.set(Rflags::OF, bits & 1 != 0);
    status
}
