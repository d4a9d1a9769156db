//! Decoding ahead must not show: blocks, dead flags, joined pairs and chains give what one instruction at a time gives.
#![allow(clippy::unwrap_used, reason = "tests")]

mod processor;

use iced_x86::{Decoder, DecoderOptions, Instruction};
use isa::address::{HostPhysicalAddress, LinearAddress};
use isa::cpu::Stop;
use isa::decode;
use isa::engine::CodeCache;
use isa::event::Exception;
use isa::flat::{FlatMachine, Observed};
use isa::registers::Gpr::{self, Rax, Rbx, Rcx, Rdx};
use isa::state::{Slot, State};
use processor::{DATA, END, Random, Values, assert_same, assert_same_run, cases, machine, run_model};
use proptest::prelude::*;

const BASE: u64 = FlatMachine::BASE;

fn config() -> ProptestConfig {
    // Seeds are no readable counterexamples: a failure prints them, and nothing is written beside the test.
    ProptestConfig {
        cases: u32::try_from(cases(256)).unwrap(),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A general-purpose instruction on registers that the engine models, and whose flags others overwrite and read.
fn register_instruction(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    loop {
        let code = candidate(&mut random);
        let instruction = Decoder::new(64, &code, DecoderOptions::NONE).decode();
        if !instruction.is_invalid() && instruction.len() == code.len() && decode::is_modelled(&instruction) {
            return code;
        }
    }
}

fn candidate(random: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    if random.below(8) == 0 {
        code.push(0x66);
    }
    if random.below(12) == 0 {
        code.push(0xf3); // POPCNT, TZCNT, LZCNT
    }
    if random.below(2) == 0 {
        code.push(0x40 | random.byte() & 15);
    }
    let operation = random.byte() & 0x38;
    let registers = 0xc0 | random.byte() & 0x3f;
    // A group's operation in the place of a register.
    let group = |operation: u8| registers & 0xc7 | operation << 3;
    let count = random.pick(&[0, 1, 4, 7, 8, 31, 32, 33, 63, 64, 200]);
    let condition = random.byte() & 15;
    let any = random.byte();
    match random.below(20) {
        0..=3 => code.extend([operation | random.byte() & 3, registers]),
        4..=5 => code.extend([random.pick(&[0x80, 0x83]), registers, any]),
        6..=7 => code.extend([random.pick(&[0xfe, 0xff]), group(any & 1)]),
        8 => code.extend([random.pick(&[0xf6, 0xf7]), group(2 + any % 4)]),
        9 => code.extend([random.pick(&[0x84, 0x85, 0x86, 0x87, 0x88, 0x8a, 0x8b, 0x63]), registers]),
        10 => code.extend([0x8d, registers & 0x3b | 0x40, any]),
        11 => code.extend([0x0f, 0x90 | condition, registers]),
        12 => code.extend([0x0f, 0x40 | condition, registers]),
        13 => code.push(random.pick(&[0xf8, 0xf9, 0xf5, 0xfc, 0xfd, 0x9e, 0x9f, 0x90, 0x98, 0x99])),
        14 => code.extend([0x0f, random.pick(&[0xc0, 0xc1, 0xb0, 0xb1, 0xaf, 0xbc, 0xbd, 0xb8]), registers]),
        15 => code.extend([random.pick(&[0xc0, 0xc1]), registers, count]),
        16 => code.extend([random.pick(&[0xd0, 0xd1, 0xd2, 0xd3]), registers]),
        17 => code.extend([0x0f, random.pick(&[0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad]), registers]),
        18 => code.extend([0x0f, random.pick(&[0xa4, 0xac, 0xba]), registers, count]),
        _ => code.extend([0x0f, random.pick(&[0xb6, 0xb7, 0xbe, 0xbf, 0xc8, 0xcb]), registers]),
    }
    code
}

/// Straight code with a conditional jump at its end, back to the start or to HLT.
fn program(seeds: &[u64]) -> Vec<u8> {
    let mut code: Vec<u8> = seeds.iter().flat_map(|&seed| register_instruction(seed)).collect();
    let mut random = Random(seeds.iter().fold(0, |all, seed| all ^ seed));
    let back = i8::try_from(code.len() + 2).map_or(0, |length| length.wrapping_neg().cast_unsigned());
    code.extend([0x70 | random.byte() & 15, random.pick(&[0, back])]);
    code
}

fn start(seeds: &[u64]) -> Values {
    Values::random(&mut Random(seeds.len() as u64))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn dead_flags_and_joined_pairs_do_not_show(seeds in prop::collection::vec(any::<u64>(), 1..24)) {
        let (code, values) = (program(&seeds), start(&seeds));
        run_model(&code, &values);
    }

    /// The caller may look at everything after any number of instructions, and go on.
    #[test]
    fn a_budget_may_end_anywhere(seeds in prop::collection::vec(any::<u64>(), 1..12), more in 1_u64..40) {
        let (code, values) = (program(&seeds), start(&seeds));
        for budget in 0..32 {
            let mut plain = machine(&code, &values);
            let mut observed = Observed::new(plain.clone());
            let mut whole = plain.clone();
            let mut cache = CodeCache::new();
            let first = cache.run(&mut plain, budget);
            prop_assert!(first.executed <= budget);
            assert_same_run(&first, &CodeCache::new().run(&mut observed, budget), &code);
            assert_same(&plain, &observed.machine, &code);
            let second = cache.run(&mut plain, more);
            let together = CodeCache::new().run(&mut whole, budget + more);
            prop_assert_eq!(first.executed + second.executed, together.executed);
            prop_assert_eq!(second.stop, together.stop);
            assert_same(&plain, &whole, &code);
        }
    }

    /// Whatever the bytes are, also when they overwrite themselves: they run or they stop, in one way.
    #[test]
    fn any_bytes_run_or_stop_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..64),
        seed in any::<u64>(),
    ) {
        run_three_ways(&bytes, seed);
    }

    /// The same with more sense: prefixes and instructions that store near the code.
    #[test]
    fn code_that_overwrites_itself_runs_as_it_stands_in_memory(
        seeds in prop::collection::vec(any::<u64>(), 1..12),
        seed in any::<u64>(),
    ) {
        let code: Vec<u8> = seeds.iter().flat_map(|&seed| storing_instruction(seed)).collect();
        run_three_ways(&code, seed);
    }
}

/// An instruction on registers or a store whose address is in the code, or a jump a few bytes away.
fn storing_instruction(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let near = random.below(40).wrapping_sub(20).to_le_bytes();
    let relative = [near[0], near[1], near[2], near[3]];
    let any = random.byte();
    match random.below(8) {
        0 => [&[0xc6, 0x05][..], &relative, &[any]].concat(), // mov byte [rip+near],any
        1 => [&[0x80, 0x05][..], &relative, &[any & 3]].concat(), // add byte [rip+near],small
        2 => [&[0x48, 0x89, 0x05][..], &relative].concat(),   // mov [rip+near],rax
        3 => [&[0xfe, 0x05][..], &relative].concat(),         // inc byte [rip+near]
        4 => vec![0xeb, near[0]],                             // jmp near
        5 => vec![0x70 | any & 15, near[0]],                  // jcc near
        _ => register_instruction(random.next()),
    }
}

/// Decoded in blocks, decoded one by one, and observed: the same steps and the same end.
fn run_three_ways(code: &[u8], seed: u64) {
    let mut plain = near_memory(code, seed);
    let mut single = plain.clone();
    let mut observed = Observed::new(plain.clone());
    let run = CodeCache::new().run(&mut plain, 300);
    let run_single = CodeCache::of_single_instructions().run(&mut single, 300);
    let run_observed = CodeCache::new().run(&mut observed, 300);
    assert_same_run(&run, &run_single, code);
    assert_same_run(&run, &run_observed, code);
    assert_same(&plain, &single, code);
    assert_same(&plain, &observed.machine, code);
    assert_eq!(observed.completed, run.executed);
}

/// A machine whose registers are mostly addresses of memory and small numbers.
fn near_memory(code: &[u8], seed: u64) -> FlatMachine {
    let mut random = Random(seed);
    let mut machine = machine(code, &Values::random(&mut random));
    for gpr in Gpr::ALL {
        let value = match random.below(4) {
            0 => random.below(100),
            1 => BASE + random.below(100),
            2 => BASE + random.below(FlatMachine::SIZE),
            _ => random.operand(),
        };
        machine.state.set_slot(Slot::from(gpr), value);
    }
    machine
}

fn gpr(machine: &FlatMachine, gpr: Gpr) -> u64 {
    machine.state.slot(Slot::from(gpr))
}

#[test]
fn a_run_without_budget_does_nothing() {
    let mut machine = FlatMachine::with_code(&[0xf4]);
    let run = CodeCache::new().run(&mut machine, 0);
    assert_eq!((run.executed, run.stop, machine.state.rip()), (0, None, BASE));
}

#[test]
fn an_instruction_may_overwrite_the_next_one() {
    // mov byte [rip+1],7 / mov al,1
    let code = [0xc6, 0x05, 1, 0, 0, 0, 7, 0xb0, 1];
    let (run, machine) = run_model(&code, &Values::new());
    assert_eq!((run.executed, run.stop), (2, Some(Stop::Halt)));
    assert_eq!(gpr(&machine, Rax) & 0xff, 7);
}

#[test]
fn a_loop_may_patch_its_own_immediate() {
    // mov ecx,3 / l: mov al,0 / add byte [l+1],5 / dec ecx / jnz l
    let code = [0xb9, 3, 0, 0, 0, 0xb0, 0, 0x80, 0x05, 0xf8, 0xff, 0xff, 0xff, 5, 0xff, 0xc9, 0x75, 0xf3];
    let (run, machine) = run_model(&code, &Values::new());
    assert_eq!((run.executed, run.stop), (13, Some(Stop::Halt)));
    assert_eq!((gpr(&machine, Rax) & 0xff, machine.memory()[6]), (10, 15));
}

#[test]
fn an_instruction_may_overwrite_itself() {
    // mov byte [rip-7],0xf4: executes once, and is HLT when the jump comes back.
    let code = [0xc6, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xf4, 0xeb, 0xf7];
    let (run, machine) = run_model(&code, &Values::new());
    assert_eq!((run.executed, run.stop), (2, Some(Stop::Halt)));
    assert_eq!(machine.state.rip(), BASE);
}

/// MOV EAX,imm32 of which two bytes are on each page, and HLT.
fn across_pages() -> FlatMachine {
    let mut machine = FlatMachine::with_code(&[]);
    machine.memory_mut()[0xffd..0x1003].copy_from_slice(&[0xb8, 1, 2, 3, 4, 0xf4]);
    machine
}

fn run_at(cache: &mut CodeCache<FlatMachine>, machine: &mut FlatMachine, rip: u64) -> Option<Stop> {
    machine.state.set_rip(rip);
    cache.run(machine, 100).stop
}

#[test]
fn a_store_to_either_page_of_an_instruction_is_seen() {
    for (patched, expected) in [(0xffe, 0x0403_0209), (0x1000, 0x0409_0201)] {
        let mut machine = across_pages();
        // mov byte [BASE+patched],9 / hlt on a third page
        let address = u32::try_from(BASE + patched).unwrap().to_le_bytes();
        let store = [&[0xc6, 0x04, 0x25][..], &address, &[9, 0xf4]].concat();
        machine.memory_mut()[0x2000..0x2009].copy_from_slice(&store);
        let mut cache = CodeCache::new();
        for value in [0x0403_0201, expected] {
            assert_eq!(run_at(&mut cache, &mut machine, BASE + 0xffd), Some(Stop::Halt));
            assert_eq!(gpr(&machine, Rax), value);
            assert_eq!(run_at(&mut cache, &mut machine, BASE + 0x2000), Some(Stop::Halt));
        }
    }
}

#[test]
fn dropping_either_page_drops_a_block_on_both() {
    for page in [BASE, BASE + 0x1000] {
        let mut machine = across_pages();
        let mut cache = CodeCache::new();
        assert!(cache.is_empty());
        run_at(&mut cache, &mut machine, BASE + 0xffd);
        let decoded = cache.len();
        assert!(decoded >= 1);
        machine.memory_mut()[0xffe] = 9;
        run_at(&mut cache, &mut machine, BASE + 0xffd);
        assert_eq!(gpr(&machine, Rax), 0x0403_0201, "decoded code is kept until it is dropped");
        cache.drop_page(HostPhysicalAddress(page));
        assert!(cache.len() < decoded);
        run_at(&mut cache, &mut machine, BASE + 0xffd);
        assert_eq!(gpr(&machine, Rax), 0x0403_0209);
        cache.clear();
        assert!(cache.is_empty());
    }
}

/// Blocks that are dropped and decoded again use their places anew, many times.
#[test]
fn pages_may_be_dropped_again_and_again() {
    let mut machine = across_pages();
    let mut cache = CodeCache::new();
    for round in 0..50_u8 {
        machine.memory_mut()[0xffe] = round;
        cache.drop_page(HostPhysicalAddress(BASE + 0x1000 * u64::from(round % 3)));
        cache.drop_page(HostPhysicalAddress(BASE));
        run_at(&mut cache, &mut machine, BASE + 0xffd);
        assert_eq!(gpr(&machine, Rax), 0x0403_0200 | u64::from(round));
        assert!(cache.len() <= 2);
    }
}

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
    assert_eq!((gpr(&machine, Rax), gpr(&machine, Rdx)), (rounds, rounds * (rounds + 1) / 2));
    assert!(cache.len() < 10, "the blocks that were dropped are gone");
}

/// A block with more successors than it remembers, in a random order.
#[test]
fn chains_lead_where_the_jump_goes() {
    // l: mov rax,[rsi] / add rsi,8 / jmp rax
    let dispatch = [0x48, 0x8b, 0x06, 0x48, 0x83, 0xc6, 8, 0xff, 0xe0];
    // rol rbx,5 / add rbx,number / jmp l
    let target = |number: u8| {
        let back = 9 + 10 * number + 10;
        [0x48, 0x8d, 0x1c, 0x5b, 0x48, 0x83, 0xc3, number, 0xeb, back.wrapping_neg()]
    };
    let code: Vec<u8> = dispatch.into_iter().chain((0..5).flat_map(target)).collect();
    let mut random = Random(1);
    for _ in 0..20 {
        let choices: Vec<u64> = (0..300).map(|_| random.below(5)).collect();
        let mut values = Values::new();
        values.set(Gpr::Rsi, DATA);
        values.set(Rbx, 0);
        for (number, choice) in choices.iter().enumerate() {
            values.store(8 * number, &(BASE + 9 + 10 * choice).to_le_bytes());
        }
        let mut plain = machine(&code, &values);
        let mut observed = Observed::new(plain.clone());
        let run = CodeCache::new().run(&mut plain, 6 * 300);
        assert_eq!((run.executed, run.stop), (1800, None));
        let expected = choices.iter().fold(0_u64, |sum, choice| sum.wrapping_mul(3).wrapping_add(*choice));
        assert_eq!(gpr(&plain, Rbx), expected);
        assert_eq!(CodeCache::new().run(&mut observed, 6 * 300), run);
        assert_same(&plain, &observed.machine, &code);
        assert_eq!((observed.started, observed.completed), (1800, 1800));
    }
}

#[test]
fn an_instruction_longer_than_15_bytes_is_refused() {
    for offset in [0, 0xff8, 0xff1] {
        let mut machine = FlatMachine::with_code(&[]);
        let code = [[0x66; 15].as_slice(), &[0x90]].concat();
        machine.memory_mut()[offset..offset + 16].copy_from_slice(&code);
        let rip = BASE + offset as u64;
        let mut cache = CodeCache::new();
        assert_eq!(run_at(&mut cache, &mut machine, rip), Some(Stop::GENERAL_PROTECTION), "{offset:#x}");
        assert_eq!(machine.state.rip(), rip);
        // One prefix less is a NOP of 15 bytes.
        machine.memory_mut()[offset + 16] = 0xf4;
        assert_eq!(run_at(&mut cache, &mut machine, rip + 1), Some(Stop::Halt), "{offset:#x}");
    }
}

#[test]
fn fetching_beyond_memory_faults_at_the_first_missing_byte() {
    let fault = Some(Stop::Exception(Exception::page_fault(LinearAddress(END), 0x14)));
    let mut machine = FlatMachine::with_code(&[]);
    let end = machine.memory().len();
    machine.memory_mut()[end - 3..].copy_from_slice(&[0xf4, 0xb8, 1]);
    let mut cache = CodeCache::new();
    assert_eq!(run_at(&mut cache, &mut machine, END - 2), fault);
    assert_eq!(machine.state.rip(), END - 2);
    assert_eq!(run_at(&mut cache, &mut machine, END), fault);
    assert_eq!(run_at(&mut cache, &mut machine, END - 3), Some(Stop::Halt));
}

/// The target of a jump that cannot be fetched is where the fault is reported, after the jump.
#[test]
fn a_jump_to_nowhere_completes_before_the_fetch_faults() {
    let mut machine = FlatMachine::with_code(&[0xff, 0xe0]);
    machine.state.set_slot(Slot::from(Rax), 0x1234);
    let run = CodeCache::new().run(&mut machine, 10);
    let fault = Exception::page_fault(LinearAddress(0x1234), 0x14);
    assert_eq!((run.executed, run.stop), (1, Some(Stop::Exception(fault))));
    assert_eq!(machine.state.rip(), 0x1234);
}

/// A fault within a block counts what came before it and leaves exactly that.
#[test]
fn a_fault_in_the_middle_of_a_block_is_precise() {
    // inc ecx / add ebx,ecx / mov [rax],ebx / inc ecx / inc ecx
    let code = [0xff, 0xc1, 0x01, 0xcb, 0x89, 0x18, 0xff, 0xc1, 0xff, 0xc1];
    let mut values = Values::new();
    (values.gpr[Rax as usize], values.gpr[Rbx as usize], values.gpr[Rcx as usize]) = (END, 1, 1);
    let (run, machine) = run_model(&code, &values);
    let fault = Exception::page_fault(LinearAddress(END), 6);
    assert_eq!((run.executed, run.stop), (2, Some(Stop::Exception(fault))));
    assert_eq!(machine.state.rip(), BASE + 4);
    assert_eq!((gpr(&machine, Rcx), gpr(&machine, Rbx)), (2, 3));
}

/// Decoding alone, of whatever bytes, never panics, and every record keeps the length.
#[test]
fn decoding_any_bytes_keeps_the_length() {
    let mut random = Random(99);
    for _ in 0..cases(20_000) {
        let bytes: [u8; 15] = std::array::from_fn(|_| random.byte());
        let instruction: Instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
        let record = decode::record::<FlatMachine>(&instruction, 0, decode::FlagsNeeded::Yes);
        assert_eq!(usize::from(record.length), instruction.len());
    }
}

/// A state survives the way through its plain form.
#[test]
fn registers_and_state_convert_both_ways() {
    let machine = near_memory(&[], 77);
    let registers = machine.state.registers();
    assert_eq!(State::from(&registers).registers(), registers);
}
