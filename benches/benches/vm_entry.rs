//! What do the checks of a VM entry cost: all of them, and after an accepted entry with the same VMCS?

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use vmx::entry_rules::{AcceptedEntry, check};
use vmx::field::Encoding;
use vmx::sample::{Guest, Sample};

/// Fields that a VM exit due to an instruction and the VMM that emulates it change.
const AFTER_AN_EXIT: [Encoding; 4] =
    [Encoding::GUEST_RIP, Encoding::GUEST_RSP, Encoding::EXIT_REASON, Encoding::EXIT_INSTRUCTION_LENGTH];

/// A cached check after a write to each of these fields of another value than before.
fn after_writes(name: &str, fields: &'static [Encoding], c: &mut Criterion) {
    let mut sample = Sample::of(Guest::Long);
    let mut accepted = AcceptedEntry::none();
    accepted.check(&sample.subject()).expect("the sample is valid");
    sample.vmcs.accept_changes();
    c.bench_function(name, |b| {
        b.iter(|| {
            for field in fields {
                sample.vmcs.write(*field, sample.vmcs.read(*field) ^ 4);
            }
            let answer = accepted.check(black_box(&sample.subject()));
            sample.vmcs.accept_changes();
            answer.is_ok()
        });
    });
}

fn entries(c: &mut Criterion) {
    let sample = Sample::of(Guest::Long);
    c.bench_function("vm_entry/all rules", |b| b.iter(|| check(black_box(&sample.subject())).is_ok()));
    after_writes("vm_entry/nothing changed", &[], c);
    after_writes("vm_entry/guest RIP changed", &[Encoding::GUEST_RIP], c);
    after_writes("vm_entry/guest RFLAGS changed", &[Encoding::GUEST_RFLAGS], c);
    after_writes("vm_entry/RIP, RSP and exit information changed", &AFTER_AN_EXIT, c);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = entries
}
criterion_main!(benches);
