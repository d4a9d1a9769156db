//! A block leaves what its instructions leave one by one, also in flags that the manual calls undefined.
#![allow(clippy::unwrap_used, reason = "tests")]

mod forms;

use forms::{Encoded, Values};
use iced_x86::Mnemonic;
use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::flat::FlatMachine;
use isa::registers::Registers;
use isa::state::State;

const MNEMONICS: &[Mnemonic] = &[
    Mnemonic::Add,
    Mnemonic::Adc,
    Mnemonic::Sbb,
    Mnemonic::And,
    Mnemonic::Cmp,
    Mnemonic::Test,
    Mnemonic::Inc,
    Mnemonic::Neg,
    Mnemonic::Shl,
    Mnemonic::Shr,
    Mnemonic::Sar,
    Mnemonic::Rol,
    Mnemonic::Ror,
    Mnemonic::Rcl,
    Mnemonic::Rcr,
    Mnemonic::Shld,
    Mnemonic::Shrd,
    Mnemonic::Rorx,
    Mnemonic::Shlx,
    Mnemonic::Mul,
    Mnemonic::Imul,
    Mnemonic::Mulx,
    Mnemonic::Adcx,
    Mnemonic::Adox,
    Mnemonic::Cwd,
    Mnemonic::Bt,
    Mnemonic::Bts,
    Mnemonic::Bsf,
    Mnemonic::Bsr,
    Mnemonic::Popcnt,
    Mnemonic::Lzcnt,
    Mnemonic::Tzcnt,
    Mnemonic::Andn,
    Mnemonic::Bextr,
    Mnemonic::Blsi,
    Mnemonic::Blsmsk,
    Mnemonic::Blsr,
    Mnemonic::Bzhi,
    Mnemonic::Pdep,
    Mnemonic::Crc32,
    Mnemonic::Bswap,
];

fn run(machine: &mut FlatMachine, before: &Registers) -> Registers {
    machine.state = State::from(before);
    machine.state.set_rip(FlatMachine::BASE);
    assert_eq!(CodeCache::new().run(machine, 100).stop, Some(Stop::Halt));
    Registers { rip: 0, ..machine.state.registers() }
}

fn with_halt(code: &[u8]) -> FlatMachine {
    FlatMachine::with_code(&[code, &[0xf4]].concat())
}

/// Calls `check` with random blocks of register instructions and registers.
fn for_random_blocks(blocks: u64, check: impl Fn(&[&Encoded], &Registers)) {
    let mut values = Values::new(11);
    let forms: Vec<Encoded> = MNEMONICS.iter().flat_map(|&name| forms::of(name, 8, &mut values)).collect();
    let forms: Vec<&Encoded> = forms.iter().filter(|form| form.address.is_none()).collect();
    for _ in 0..blocks {
        let block: Vec<&Encoded> = (0..2 + values.below(4)).map(|_| values.one_of(&forms)).collect();
        let mut before = Registers { rflags: 0x202 | values.next() & 0x8d5, ..Registers::default() };
        before.gpr.fill_with(|| values.operand());
        check(&block, &before);
    }
}

fn code_of(block: &[&Encoded]) -> Vec<u8> {
    block.iter().flat_map(|form| form.bytes.clone()).collect()
}

fn names_of(block: &[&Encoded]) -> Vec<String> {
    block.iter().map(|form| form.instruction.to_string()).collect()
}

#[test]
fn a_block_leaves_what_its_instructions_leave_one_by_one() {
    for_random_blocks(10_000, |block, before| {
        let together = run(&mut with_halt(&code_of(block)), before);
        let mut alone = *before;
        for form in block {
            alone = run(&mut with_halt(&form.bytes), &alone);
        }
        assert_eq!(together, alone, "{:?} from {before:x?}", names_of(block));
    });
}

#[test]
fn a_budget_that_ends_within_a_block_leaves_all_flags_computed() {
    for_random_blocks(2_000, |block, before| {
        let mut machine = with_halt(&code_of(block));
        machine.state = State::from(before);
        machine.state.set_rip(FlatMachine::BASE);
        let mut cache = CodeCache::new();
        let mut alone = *before;
        for form in block {
            assert_eq!(cache.run(&mut machine, 1).stop, None);
            alone = run(&mut with_halt(&form.bytes), &alone);
            let stepped = Registers { rip: 0, ..machine.state.registers() };
            assert_eq!(stepped, alone, "{} in {:?}", form.instruction, names_of(block));
        }
    });
}
