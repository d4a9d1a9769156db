/* Two small guests on /dev/kvm, one in real-address mode and one in 64-bit mode. Prints why each of them left. */
#include "host.h"

enum { MEMORY = 1 << 16, START = 0x1000 };

extern const uint8_t real_begin[], real_end[], long_begin[], long_end[];

__asm__(".pushsection .rodata\n"
        ".code16\n"
        "real_begin:\n"
        "    mov $'R', %al\n"
        "    mov $0x3f8, %dx\n"
        "    out %al, %dx\n"
        "    mov $0xd000, %ax\n" /* beyond the memory */
        "    mov %ax, %ds\n"
        "    movb $0x5a, 0x123\n"
        "    hlt\n"
        "real_end:\n"
        ".code64\n"
        "long_begin:\n"
        "    mov $1000, %ecx\n"
        "    xor %eax, %eax\n"
        "1:  add %ecx, %eax\n"
        "    dec %ecx\n"
        "    jnz 1b\n"
        "    mov $0x3f8, %edx\n"
        "    out %eax, %dx\n"
        "    xor %eax, %eax\n"
        "    cpuid\n"
        "    mov %ebx, %eax\n"
        "    mov $0x3f8, %edx\n"
        "    out %eax, %dx\n"
        "    hlt\n"
        "long_end:\n"
        ".popsection\n");

/* Runs the guest until it halts. */
static void run(struct guest *guest)
{
    struct kvm_run *run = guest->run;
    for (;;) {
        CONTROL(guest->processor, KVM_RUN, 0);
        switch (run->exit_reason) {
        case KVM_EXIT_IO: {
            uint32_t value = 0;
            memcpy(&value, (uint8_t *)run + run->io.data_offset, run->io.size);
            print_number("out ", run->io.port);
            print_number(" = ", value);
            print("\n");
            break;
        }
        case KVM_EXIT_MMIO:
            print_number(run->mmio.is_write ? "write " : "read ", run->mmio.phys_addr);
            print_number(" = ", run->mmio.data[0]);
            print("\n");
            break;
        case KVM_EXIT_HLT:
            print("halt\n");
            return;
        default:
            print_number("exit ", run->exit_reason);
            print_number(", ", run->fail_entry.hardware_entry_failure_reason);
            print("\n");
            return;
        }
    }
}

static struct guest new_guest(int kvm, const uint8_t *begin, const uint8_t *end)
{
    struct guest guest = {.machine = new_machine(kvm)};
    add_processor(kvm, &guest, MEMORY);
    memcpy(guest.memory + START, begin, end - begin);
    return guest;
}

static void run_real(int kvm)
{
    struct guest guest = new_guest(kvm, real_begin, real_end);
    struct kvm_sregs system;
    CONTROL(guest.processor, KVM_GET_SREGS, &system);
    system.cs.base = system.cs.selector = 0;
    CONTROL(guest.processor, KVM_SET_SREGS, &system);
    struct kvm_regs registers = {.rip = START, .rflags = 2};
    CONTROL(guest.processor, KVM_SET_REGS, &registers);
    run(&guest);
}

static void run_long(int kvm)
{
    struct guest guest = new_guest(kvm, long_begin, long_end);
    enter_64_bit_mode(&guest, START, 0);
    run(&guest);
}

int program(void)
{
    int kvm = open_file("/dev/kvm");
    print("real-address mode\n");
    run_real(kvm);
    print("64-bit mode\n");
    run_long(kvm);
    return 0;
}
