//! A monitor's interface for guests that know they are guests: KVM's hypercalls, as its documentation describes them
//! (`Documentation/virt/kvm/x86/hypercalls.rst` and `cpuid.rst` of Linux).
//!
//! Of the hypercalls there is the one that sends interprocessor interrupts; the others are answered with -`KVM_ENOSYS`.

use isa::mode::CodeSize;
use isa::state::{Slot, State};
use platform::fabric::{DeliveryMode, Destination, Message, Sender, Trigger};
use platform::{Platform, ProcessorIndex, Time};
use serde::{Deserialize, Serialize};

/// Who answers VMCALL and VMMCALL of software that is not in VMX operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Hypercalls {
    /// Nobody: they are #UD, as on a processor.
    #[default]
    None,
    /// The machine, as KVM does; CPUID says so.
    Kvm,
}

/// The first leaf of CPUID that processors leave to monitors.
const LEAVES: u32 = 0x4000_0000;
/// CPUID.01H:ECX: a monitor is present.
const PRESENT: u32 = 1 << 31;
/// `KVM_FEATURE_PV_SEND_IPI`.
const SENDS_INTERRUPTS: u32 = 1 << 11;

/// `KVM_HC_SEND_IPI`.
const SEND_INTERRUPT: u64 = 10;

/// -`KVM_EPERM`, -`KVM_EINVAL`, -`KVM_ENOSYS`.
const NOT_PERMITTED: i64 = -1;
const INVALID: i64 = -22;
const NO_SUCH_CALL: i64 = -1000;

/// The bits of an interrupt command that a hypercall may not set: shorthand and logical destinations.
const NO_DESTINATION: u64 = 0xc_0800;

/// CPUID as a guest of KVM sees it, given what the processor says.
pub(super) fn cpuid(leaf: u32, processor: [u32; 4]) -> [u32; 4] {
    let word = u32::from_le_bytes;
    let [eax, ebx, ecx, edx] = processor;
    match leaf {
        1 => [eax, ebx, ecx | PRESENT, edx],
        LEAVES => [LEAVES + 1, word(*b"KVMK"), word(*b"VMKV"), word(*b"M\0\0\0")],
        _ if leaf == LEAVES + 1 => [SENDS_INTERRUPTS, 0, 0, 0],
        _ => processor,
    }
}

/// Answers a hypercall in RAX; outside 64-bit mode all operands have 32 bits.
pub(super) fn answer(state: &mut State, platform: &mut Platform, caller: ProcessorIndex, now: Time) {
    let is_long = state.code_size() == CodeSize::Bits64;
    let operand = |slot| if is_long { state.slot(slot) } else { u64::from(state.get::<u32>(slot)) };
    let number = operand(Slot::Rax);
    let [low, high, first, command] = [Slot::Rbx, Slot::Rcx, Slot::Rdx, Slot::Rsi].map(operand);
    let answer = match number {
        _ if state.system.cpl != 0 => NOT_PERMITTED,
        SEND_INTERRUPT if command & NO_DESTINATION != 0 => INVALID,
        SEND_INTERRUPT => {
            let width = if is_long { 64 } else { 32 };
            let destinations = u128::from(high) << width | u128::from(low);
            send(platform, caller, now, destinations, first, command)
        }
        _ => NO_SUCH_CALL,
    };
    let answer = answer.cast_unsigned();
    state.set_slot(Slot::Rax, if is_long { answer } else { answer & 0xffff_ffff });
}

/// Sends what an interrupt command describes to the local APICs whose IDs, counted from `first`, are in `destinations`;
/// returns how many there are.
fn send(
    platform: &mut Platform,
    caller: ProcessorIndex,
    now: Time,
    destinations: u128,
    first: u64,
    command: u64,
) -> i64 {
    let [vector, kind, ..] = command.to_le_bytes();
    let Some(delivery) = DeliveryMode::from_bits(kind.into()) else { return INVALID };
    let identifiers = (0..u128::BITS).filter(|bit| destinations >> bit & 1 != 0);
    let mut sent = 0;
    for identifier in identifiers.filter_map(|bit| u32::try_from(first.checked_add(bit.into())?).ok()) {
        if platform.local_apic(ProcessorIndex(identifier)).is_none() {
            continue;
        }
        let (sender, destination) = (Sender::Processor(caller), Destination::Physical(identifier));
        let message = Message { sender, destination, delivery, vector, trigger: Trigger::Edge };
        platform.with_fabric(now, |fabric| fabric.send(message));
        sent += 1;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::{PendingInterrupt, PlatformOptions};

    fn called(registers: [(Slot, u64); 5], level: u8) -> (u64, [Option<PendingInterrupt>; 3]) {
        let options = PlatformOptions { processors: 3, ..PlatformOptions::default() };
        let mut platform = Platform::new(&options, Box::new(std::io::sink())).expect("three processors");
        for number in 0..3 {
            let written = platform.memory_write(ProcessorIndex(number), Time(0), 0xfee0_00f0, 4, 0x1ff);
            assert_eq!(written, Some(()));
        }
        let mut state = State::default();
        state.system.cpl = level;
        registers.into_iter().for_each(|(slot, value)| state.set_slot(slot, value));
        answer(&mut state, &mut platform, ProcessorIndex(0), Time(1));
        (state.slot(Slot::Rax), [0, 1, 2].map(|number| platform.pending_interrupt(ProcessorIndex(number))))
    }

    fn sent(low: u64, high: u64, first: u64, command: u64) -> (u64, [Option<PendingInterrupt>; 3]) {
        let registers = [(Slot::Rax, 10), (Slot::Rbx, low), (Slot::Rcx, high), (Slot::Rdx, first)];
        let [number, low, high, first] = registers;
        called([number, low, high, first, (Slot::Rsi, command)], 0)
    }

    #[test]
    fn an_interrupt_is_sent_to_every_processor_of_the_set_and_they_are_counted() {
        let taken = Some(PendingInterrupt::Vector(0x41));
        assert_eq!(sent(0b101, 0, 0, 0x41), (2, [taken, None, taken]));
        assert_eq!(sent(0b11, 0, 1, 0x41), (2, [None, taken, taken]));
        assert_eq!(sent(1 << 60, 0, 1 << 40, 0x41), (0, [None; 3]));
        assert_eq!(
            sent(u64::MAX, 0, u32::MAX.into(), 0x41),
            (0, [None; 3]),
            "no number of a processor wraps"
        );
    }

    #[test]
    fn a_command_with_a_destination_of_its_own_is_invalid() {
        for command in [0x800, 0x4_0000, 0x8_0000] {
            assert_eq!(sent(1, 0, 0, 0x41 | command), (INVALID.cast_unsigned(), [None; 3]));
        }
    }

    #[test]
    fn other_calls_do_not_exist_and_programs_may_make_none() {
        let call = |number, level| called([(Slot::Rax, number); 5], level).0.cast_signed();
        assert_eq!((call(1, 0), call(99, 0)), (NO_SUCH_CALL, NO_SUCH_CALL));
        assert_eq!(call(10, 3), NOT_PERMITTED);
    }

    #[test]
    fn cpuid_names_the_monitor_and_what_it_offers() {
        assert_eq!(cpuid(1, [1, 2, 3, 4]), [1, 2, 0x8000_0003, 4]);
        let [highest, name @ ..] = cpuid(0x4000_0000, [0; 4]);
        assert_eq!(
            (highest, name.map(u32::to_le_bytes).concat()),
            (0x4000_0001, b"KVMKVMKVM\0\0\0".to_vec())
        );
        assert_eq!(cpuid(0x4000_0001, [0; 4]), [1 << 11, 0, 0, 0]);
        assert_eq!(cpuid(0, [9; 4]), [9; 4]);
    }
}
