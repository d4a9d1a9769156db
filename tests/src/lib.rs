//! Tests of the workspace as a whole: what no single crate can promise.

#[cfg(test)]
mod edges;
#[cfg(test)]
mod kvm;
#[cfg(test)]
mod linux;
#[cfg(test)]
mod random_guests;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod serial;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod silicon;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod vmm;
#[cfg(test)]
mod vmm_tests;

#[cfg(all(test, not(all(target_arch = "x86_64", target_os = "linux"))))]
#[test]
fn random_sequences_agree_with_the_processor() {
    println!("skipped: instructions are executed natively on x86-64 hosts with Linux only");
}
