//! What firmware leaves in memory for code in real-address mode: interrupt vectors, and handlers for them.
//!
//! A vector leads to IRET unless it is that of the timer, the only interrupt that the 8259 lets through at the start.
//! Both handlers are where the IBM PC/AT has them. There are no other services.

use isa::address::HostPhysicalAddress;

/// Bytes, and where they are.
type Piece = (HostPhysicalAddress, Vec<u8>);

/// The segment of the handlers.
const SEGMENT: u16 = 0xf000;
/// The handler that only returns.
const RETURN: u16 = 0xff53;
/// The handler of the timer.
const TIMER: u16 = 0xfea5;
/// The vector of the timer.
const TIMER_VECTOR: usize = 8;

/// Counts the ticks in the doubleword at 0:46CH and ends the interrupt.
const TIMER_CODE: [u8; 18] = [
    0x1e, 0x50, // push ds / push ax
    0x31, 0xc0, 0x8e, 0xd8, // xor ax,ax / mov ds,ax
    0x66, 0xff, 0x06, 0x6c, 0x04, // inc dword [46ch]
    0xb0, 0x20, 0xe6, 0x20, // mov al,20h / out 20h,al
    0x58, 0x1f, 0xcf, // pop ax / pop ds / iret
];

/// All of it.
pub(super) fn pieces() -> [Piece; 3] {
    let vector = |number| [if number == TIMER_VECTOR { TIMER } else { RETURN }, SEGMENT];
    let vectors = (0..256).flat_map(vector).flat_map(u16::to_le_bytes).collect();
    let at = |offset: u16| HostPhysicalAddress((u64::from(SEGMENT) << 4) + u64::from(offset));
    [(HostPhysicalAddress(0), vectors), (at(TIMER), TIMER_CODE.to_vec()), (at(RETURN), vec![0xcf])]
}
