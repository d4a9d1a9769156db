//! The words of x87 that programs look at.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::engine::CodeCache;
use isa::flat::FlatMachine;
use isa::state::Slot;

#[test]
fn control_and_status_words_are_stored_and_nothing_else_changes() {
    // fnstcw [rdi] / fnstsw [rdi+8] / fnstsw ax
    let mut machine = FlatMachine::with_code(&[0xd9, 0x3f, 0xdd, 0x7f, 0x08, 0xdf, 0xe0]);
    machine.state.x87.control = 0x127f;
    machine.state.x87.status = 0x3822;
    machine.state.set_slot(Slot::Rdi, FlatMachine::BASE + 0x1000);
    machine.state.set_slot(Slot::Rax, u64::MAX);
    let before = machine.state.registers();
    let run = CodeCache::new().run(&mut machine, 3);
    assert_eq!((run.executed, run.stop), (3, None));
    assert_eq!(machine.memory()[0x1000..0x1004], [0x7f, 0x12, 0, 0]);
    assert_eq!(machine.memory()[0x1008..0x100c], [0x22, 0x38, 0, 0]);
    let mut expected = before;
    expected.gpr[0] = 0xffff_ffff_ffff_3822;
    expected.rip += 7;
    assert_eq!(machine.state.registers(), expected);
}
