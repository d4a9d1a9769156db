//! Code that is dropped again and again.

use super::CodeCache;
use crate::cpu::Stop;
use crate::flat::FlatMachine;
use crate::state::Slot;

/// The blocks that lead to a block stay, and go to what stands in its place.
#[test]
fn a_function_that_is_patched_before_each_call_runs_as_patched() {
    const ROUNDS: u32 = 10_000;
    // mov ecx,ROUNDS / l: inc dword [BASE+1001h] / call BASE+1000h / add rdx,rax / dec ecx / jne l / hlt
    let [low, high, ..] = ROUNDS.to_le_bytes();
    let code = [
        0xb9, low, high, 0, 0, 0xff, 0x05, 0xf6, 0x0f, 0, 0, 0xe8, 0xf0, 0x0f, 0, 0, 0x48, 0x01, 0xc2, 0xff,
        0xc9, 0x75, 0xee, 0xf4,
    ];
    let mut machine = FlatMachine::with_code(&code);
    machine.memory_mut()[0x1000..0x1006].copy_from_slice(&[0xb8, 0, 0, 0, 0, 0xc3]); // mov eax,0 / ret
    let mut cache = CodeCache::new();
    let run = cache.run(&mut machine, u64::MAX);
    assert_eq!((run.executed, run.stop), (1 + 7 * u64::from(ROUNDS), Some(Stop::Halt)));
    let rounds = u64::from(ROUNDS);
    assert_eq!(
        (machine.state.slot(Slot::Rax), machine.state.slot(Slot::Rdx)),
        (rounds, rounds * (rounds + 1) / 2)
    );
    assert!(cache.len() < 10, "the blocks that were dropped are gone");
}
