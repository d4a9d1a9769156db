//! FNSTENV FLDENV FNSAVE FRSTOR (SDM Vol. 1, 8.1.10 and figures 8-9 to 8-12).
//!
//! Selectors are stored as 0 and not restored.

use super::control::{control_word, initialise};
use super::stack::{EXCEPTIONS, summarised, wait};
use crate::address::{AccessKind, LinearAddress, PAGE_SIZE};
use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::float::extended::{Class, Extended};
use crate::mode::OperatingMode;
use crate::record::{Handler, Record};
use crate::registers::X87;
use crate::width::Width;
use iced_x86::Code;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fnstenv_m14byte => store_environment::<C, u16>,
        Code::Fnstenv_m28byte => store_environment::<C, u32>,
        Code::Fldenv_m14byte => load_environment::<C, u16>,
        Code::Fldenv_m28byte => load_environment::<C, u32>,
        Code::Fnsave_m94byte => save::<C, u16>,
        Code::Fnsave_m108byte => save::<C, u32>,
        Code::Frstor_m94byte => restore::<C, u16>,
        Code::Frstor_m108byte => restore::<C, u32>,
        _ => return None,
    })
}

/// Words of the environment.
const WORDS: usize = 7;

/// The tag word with two bits a physical register.
fn full_tags(x87: &X87) -> u16 {
    (0..8).fold(0, |tags, number| {
        let physical = (usize::from(x87.top()) + number) & 7;
        let tag = match Extended::from_bits(x87.st[number]).class() {
            _ if x87.is_empty(number) => 3,
            Class::Normal => 0,
            Class::Zero => 1,
            _ => 2,
        };
        tags | tag << (2 * physical)
    })
}

/// Bits of a word, all the others 1, as the reserved halves of 32-bit words are stored.
fn filled(word: u16) -> u32 {
    0xffff_0000 | u32::from(word)
}

/// The environment as words, of which 16-bit images have the low halves.
#[allow(clippy::cast_possible_truncation, reason = "the pointers have 32 bits here")]
fn words(x87: &X87, mode: OperatingMode, bits: u32) -> [u32; WORDS] {
    let (ip, dp) = (x87.instruction_pointer as u32, x87.data_pointer as u32);
    let opcode = u32::from(x87.opcode & 0x7ff);
    let head = [filled(x87.control), filled(x87.status), filled(full_tags(x87))];
    let rest = match (mode, bits) {
        (OperatingMode::Protected, 32) => [ip, opcode << 16, dp, 0xffff_0000],
        (OperatingMode::Protected, _) => [ip, 0, dp, 0],
        (_, 32) => [ip & 0xffff, ip >> 16 << 12 | opcode, dp & 0xffff, dp >> 16 << 12],
        (_, _) => [ip, (ip >> 16 & 0xf) << 12 | opcode, dp, (dp >> 16 & 0xf) << 12],
    };
    [head[0], head[1], head[2], rest[0], rest[1], rest[2], rest[3]]
}

/// Takes an environment over. A register is empty or not; what else the tags say is found from its content.
#[allow(clippy::cast_possible_truncation, reason = "halves of the words")]
fn take(x87: &mut X87, words: [u32; WORDS], mode: OperatingMode, bits: u32) {
    let physical = {
        let mut registers = x87.st;
        registers.rotate_right(usize::from(x87.top()));
        registers
    };
    let [control, status, tags, third, fourth, fifth, sixth] = words;
    let (ip, dp, opcode) = match (mode, bits) {
        (OperatingMode::Protected, 32) => (third, fifth, fourth >> 16),
        (OperatingMode::Protected, _) => (third, fifth, 0),
        _ => (third & 0xffff | fourth >> 12 << 16, fifth & 0xffff | sixth >> 12 << 16, fourth),
    };
    x87.control = control_word(control as u16);
    x87.status = summarised(status as u16, x87.control);
    x87.tag =
        (0..8).fold(0, |tag, number| if tags >> (2 * number) & 3 == 3 { tag } else { tag | 1 << number });
    x87.instruction_pointer = ip.into();
    x87.data_pointer = dp.into();
    x87.opcode = (opcode & 0x7ff) as u16;
    x87.st = physical;
    let top = usize::from(x87.top());
    x87.st.rotate_left(top);
}

/// Where the image is, after its first byte and, if it ends on another page, the first byte there were found to be
/// accessible.
fn area<C: Cpu, W: Width>(
    cpu: &mut C,
    record: &Record<C>,
    bytes: usize,
    kind: AccessKind,
) -> Result<LinearAddress, Stopped> {
    let at = record.linear_address(cpu.state(), bytes, kind)?;
    cpu.state().check_alignment(at, W::BYTES)?;
    let last = at.add((bytes - 1) as u64);
    let start_of_page = LinearAddress(last.0 & !(PAGE_SIZE - 1));
    // Which byte a fault names is up to the processor: of the short store it is the first of the page.
    let crosses = kind == AccessKind::Write && W::BYTES == 2 && start_of_page.0 > at.0;
    for place in [at, if crosses { start_of_page } else { last }] {
        match kind {
            AccessKind::Write => cpu.modify::<u8>(place, |_, old| old)?,
            _ => cpu.read::<u8>(place).map(|_| ())?,
        }
    }
    Ok(at)
}

fn store_words<C: Cpu, W: Width>(cpu: &mut C, at: LinearAddress) -> Result<(), Stopped> {
    let words = words(&cpu.state().x87, cpu.state().operating_mode(), W::BITS);
    for (number, word) in words.into_iter().enumerate() {
        cpu.write(at.add((number * W::BYTES) as u64), W::truncate(word.into()))?;
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "words have 32 bits at most")]
fn load_words<C: Cpu, W: Width>(cpu: &mut C, at: LinearAddress) -> Result<[u32; WORDS], Stopped> {
    let mut words = [0; WORDS];
    for (number, word) in words.iter_mut().enumerate() {
        *word = cpu.read::<W>(at.add((number * W::BYTES) as u64))?.zero_extend() as u32;
    }
    Ok(words)
}

/// All exceptions are masked afterwards.
fn store_environment<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let at = area::<C, W>(cpu, record, WORDS * W::BYTES, AccessKind::Write)?;
    store_words::<C, W>(cpu, at)?;
    let x87 = &mut cpu.state_mut().x87;
    x87.control |= EXCEPTIONS;
    x87.status = summarised(x87.status, x87.control);
    Ok(())
}

fn load_environment<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let at = area::<C, W>(cpu, record, WORDS * W::BYTES, AccessKind::Read)?;
    let words = load_words::<C, W>(cpu, at)?;
    let mode = cpu.state().operating_mode();
    take(&mut cpu.state_mut().x87, words, mode, W::BITS);
    Ok(())
}

/// Bytes of a register in the image.
const REGISTER: usize = 10;

fn register_at<W: Width>(at: LinearAddress, number: usize) -> LinearAddress {
    at.add((WORDS * W::BYTES + number * REGISTER) as u64)
}

#[allow(clippy::cast_possible_truncation, reason = "the parts of the format")]
fn save<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let at = area::<C, W>(cpu, record, WORDS * W::BYTES + 8 * REGISTER, AccessKind::Write)?;
    store_words::<C, W>(cpu, at)?;
    for (number, register) in cpu.state().x87.st.into_iter().enumerate() {
        let place = register_at::<W>(at, number);
        cpu.write(place, register as u64)?;
        cpu.write(place.add(8), (register >> 64) as u16)?;
    }
    initialise(&mut cpu.state_mut().x87);
    Ok(())
}

fn restore<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let at = area::<C, W>(cpu, record, WORDS * W::BYTES + 8 * REGISTER, AccessKind::Read)?;
    let words = load_words::<C, W>(cpu, at)?;
    let mut st = [0; 8];
    for (number, register) in st.iter_mut().enumerate() {
        let place = register_at::<W>(at, number);
        let (low, high): (u64, u16) = (cpu.read(place)?, cpu.read(place.add(8))?);
        *register = u128::from(high) << 64 | u128::from(low);
    }
    let mode = cpu.state().operating_mode();
    let x87 = &mut cpu.state_mut().x87;
    take(x87, words, mode, W::BITS);
    x87.st = st;
    Ok(())
}
