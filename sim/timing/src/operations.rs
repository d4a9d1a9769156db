//! What the operations that are no ordinary instruction cost: transitions, invalidations, interrupts, faults.

use serde::Deserialize;

use crate::processor::{Checker, ProcessorError};

/// Declares the costs, each with its key in a processor file, and what reads and checks them.
macro_rules! operation_costs {
    ($($(#[$text:meta])* $name:ident $key:literal,)*) => {
        /// Cycles of the operations of a processor.
        ///
        /// Each is what the operation itself takes on an otherwise idle core. What follows from it (TLB misses after
        /// an invalidation, cache misses of a handler) is charged where it happens and is in none of these.
        ///
        /// | who does it | pays | to [`Cause`](crate::stack::Cause) |
        /// |---|---|---|
        /// | a guest that exits, and is entered again | `vm_exit`, then `vm_entry` | `Transition` |
        /// | a kernel or monitor that invalidates | the instruction | `Invalidation` |
        /// | a kernel that switches address spaces | `context_switch`, `mov_to_cr3_keep` | `Transition` |
        /// | ... by a MOV to CR3 that flushes | what `mov_to_cr3` is more | `Invalidation` |
        /// | the initiator of a shootdown | `ipi_send` for each target, then it waits for the slowest | `Shootdown` |
        /// | each target of a shootdown | `ipi_receive`, and the instructions that invalidate | `Shootdown`, `Invalidation` |
        /// | a page fault | `page_fault`, `fault_handler` | `Fault` |
        ///
        /// A shootdown has no function of its own. Its targets work at the same time, so the initiator waits for the
        /// greatest sum of `ipi_receive` and the target's invalidations.
        ///
        /// ```
        /// use timing::processor::Processor;
        /// let skylake = Processor::named("skylake")?;
        /// let costs = skylake.operations();
        /// // One page, three targets that only invalidate that page.
        /// let target = costs.ipi_receive() + costs.invlpg();
        /// let initiator = costs.invlpg() + 3 * costs.ipi_send() + target;
        /// assert!(initiator > 10 * costs.invlpg());
        /// # Ok::<(), timing::processor::UnknownProcessor>(())
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct OperationCosts {
            $($name: u64,)*
        }

        impl OperationCosts {
            $(
                $(#[$text])*
                #[inline]
                #[must_use]
                pub const fn $name(&self) -> u64 {
                    self.$name
                }
            )*

            /// Each cost with its key in a processor file.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($key, self.$name),)*].into_iter()
            }
        }

        /// The section `[operations]` as it is written.
        #[derive(Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Written {
            $(#[serde(rename = $key)] $name: Option<u64>,)*
        }

        /// Every operation has a cost, and it is in range.
        pub(crate) fn check(
            checker: &Checker<'_>,
            written: &Written,
        ) -> Result<OperationCosts, ProcessorError> {
            Ok(OperationCosts {
                $($name: checker.operation(concat!("operations.", $key), written.$name)?,)*
            })
        }
    };
}

operation_costs! {
    /// Cycles of a VM exit, up to the first instruction of the host.
    vm_exit "vm-exit",
    /// Cycles of a VM entry (VMRESUME), up to the first instruction of the guest.
    vm_entry "vm-entry",
    /// Cycles of a MOV to CR3 that flushes: CR4.PCIDE is 0, or bit 63 of the source is.
    mov_to_cr3 "mov-to-cr3",
    /// Cycles of a MOV to CR3 that keeps the TLB: CR4.PCIDE and bit 63 of the source are 1.
    mov_to_cr3_keep "mov-to-cr3-keep",
    /// Cycles of a MOV to CR4 that flushes, such as one that changes CR4.PGE. A global flush by it takes two.
    mov_to_cr4 "mov-to-cr4",
    /// Cycles of INVLPG.
    invlpg "invlpg",
    /// Cycles of INVPCID of type 0: one address of one PCID.
    invpcid_address "invpcid-address",
    /// Cycles of INVPCID of type 1: one PCID.
    invpcid_context "invpcid-context",
    /// Cycles of INVPCID of types 2 and 3: all PCIDs.
    invpcid_all "invpcid-all",
    /// Cycles of INVVPID of type 0: one address of one VPID.
    invvpid_address "invvpid-address",
    /// Cycles of INVVPID of types 1 and 3: one VPID.
    invvpid_context "invvpid-context",
    /// Cycles of INVVPID of type 2: all VPIDs.
    invvpid_all "invvpid-all",
    /// Cycles of INVEPT of type 1: one EPTP.
    invept_context "invept-context",
    /// Cycles of INVEPT of type 2: all EPTPs.
    invept_all "invept-all",
    /// Cycles that sending an interrupt to one other processor takes the sender.
    ipi_send "ipi-send",
    /// Cycles from there to the end of the target's handler: delivery, handler without its invalidations, EOI, IRET.
    ipi_receive "ipi-receive",
    /// Cycles of a page fault to and from its handler: delivery of the exception and IRET.
    page_fault "page-fault",
    /// Cycles of a kernel's or monitor's page-fault handler between the two.
    fault_handler "fault-handler",
    /// Cycles of a kernel's way from one process to the next, without the load of CR3.
    context_switch "context-switch",
    /// Cycles of a system call that does nothing: SYSCALL, the kernel's entry and exit, SYSRET.
    syscall "syscall",
}
