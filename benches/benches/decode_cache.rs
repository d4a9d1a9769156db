//! What does it cost to get from block to block, and to decode one?
//!
//! Each guest is a ring of blocks of one jump, so that an iteration is nothing but the way to the next block.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use vmxsim_benches::machine::{CODE, PlainMachine};

const BLOCKS: u64 = 64;
/// Where the targets of the indirect jump start, from the start of the code.
const TARGETS: usize = 0x100;

/// A ring of direct jumps: each block knows its successor.
fn chained() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut labels: Vec<_> = (0..BLOCKS).map(|_| a.create_label()).collect();
    for block in 0..labels.len() {
        let next = labels[(block + 1) % labels.len()];
        a.set_label(&mut labels[block])?;
        a.jmp(next)?;
        a.nop()?;
    }
    a.assemble(CODE)
}

/// One indirect jump that goes round many targets: its successors change each time, and the table by linear address is
/// asked.
fn indirect() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut dispatch = a.create_label();
    a.set_label(&mut dispatch)?;
    a.add(ecx, 16)?;
    a.and(ecx, 0x3f0)?;
    a.lea(rax, ptr(rcx + CODE + TARGETS as u64))?;
    a.jmp(rax)?;
    let length = a.assemble(CODE)?.len();
    a.nops_with_size(TARGETS - length)?;
    for _ in 0..BLOCKS {
        a.jmp(dispatch)?;
        a.nops_with_size(16 - 5)?;
    }
    a.assemble(CODE)
}

fn ways(c: &mut Criterion) {
    let mut group = c.benchmark_group("block to block");
    for (name, code) in [("chained", chained()), ("by linear address", indirect())] {
        let mut machine = PlainMachine::new(&code.expect("the assembler")).expect("a machine");
        group.throughput(Throughput::Elements(10_000));
        group.bench_function(name, |b| b.iter(|| machine.run(10_000)));
    }
    group.finish();
}

fn decoding(c: &mut Criterion) {
    let loops = vmxsim_benches::loops::all().expect("the assembler");
    let mut machine = PlainMachine::new(&loops[1].code).expect("a machine");
    machine.set_iterations(u64::MAX);
    machine.run(1000);
    c.bench_function("drop a page of code and decode it again (25 instructions)", |b| {
        b.iter(|| {
            machine.drop_code();
            machine.run(25)
        });
    });
}

criterion_group!(benches, ways, decoding);
criterion_main!(benches);
