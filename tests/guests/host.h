/* What the programs here have instead of a C library: the entry point, Linux's system calls, and printing. */
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long word;

enum { READ, WRITE, OPEN, CLOSE, MMAP = 9, IOCTL = 16, EXIT = 60, IOPL = 172 };

static inline long call(long number, word a, word b, word c, word d, word e)
{
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* The compiler calls these two of its own accord. */
void *memset(void *to, int byte, size_t length)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(byte) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t length)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
    return to;
}

static inline void print(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    call(WRITE, 1, (word)text, length, 0, 0);
}

static inline void print_number(const char *name, word value)
{
    char digits[24];
    int at = sizeof digits;
    digits[--at] = 0;
    do
        digits[--at] = '0' + value % 10;
    while (value /= 10);
    print(name);
    print(&digits[at]);
}

/* The result, unless it is an error: then the program says so and ends. */
static inline long must(const char *what, long result)
{
    if (result >= 0 || result < -4095)
        return result;
    print(what);
    print_number(" failed, error ", -result);
    print("\n");
    call(EXIT, 1, 0, 0, 0, 0);
    __builtin_unreachable();
}

static inline long control(int file, const char *what, word request, word argument)
{
    return must(what, call(IOCTL, file, request, argument, 0, 0));
}

#define CONTROL(file, request, argument) control(file, #request, request, (word)(argument))

/* Zeroed memory, or the shared memory of a file. */
static inline void *map(int file, size_t length)
{
    const word read_write = 3, shared = 1, private_anonymous = 0x22;
    return (void *)must("mmap", call(MMAP, 0, length, read_write, file < 0 ? private_anonymous : shared, file));
}

static inline int open_file(const char *path)
{
    const word read_write = 2;
    return must(path, call(OPEN, (word)path, read_write, 0, 0, 0));
}

/* A guest with one processor. */
struct guest {
    int machine, processor;
    uint8_t *memory;
    struct kvm_run *run;
};

enum { CPUID_ENTRIES = 100 };

static inline int new_machine(int kvm)
{
    int machine = CONTROL(kvm, KVM_CREATE_VM, 0);
    /* Only needed where a guest cannot run in real-address mode: three pages that it has to do without. */
    CONTROL(machine, KVM_SET_TSS_ADDR, 0xfffbd000);
    return machine;
}

static inline void add_processor(int kvm, struct guest *guest, size_t memory_size)
{
    guest->memory = map(-1, memory_size);
    struct kvm_userspace_memory_region region = {
        .memory_size = memory_size,
        .userspace_addr = (word)guest->memory,
    };
    CONTROL(guest->machine, KVM_SET_USER_MEMORY_REGION, &region);
    guest->processor = CONTROL(guest->machine, KVM_CREATE_VCPU, 0);
    guest->run = map(guest->processor, CONTROL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
    struct kvm_cpuid2 *cpuid = map(-1, sizeof *cpuid + CPUID_ENTRIES * sizeof cpuid->entries[0]);
    cpuid->nent = CPUID_ENTRIES;
    CONTROL(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == 1)
            cpuid->entries[i].ecx |= 1u << 31; /* there is a hypervisor to ask for its clock */
    CONTROL(guest->processor, KVM_SET_CPUID2, cpuid);
}

/* 64-bit mode at an address, with 4 GByte mapped one to one by page tables at 9000h. */
static inline void enter_64_bit_mode(struct guest *guest, word rip, word rsi)
{
    enum { PML4 = 0x9000, PDPT = 0xa000, PD = 0xb000, GDT = 0x8000, PRESENT_WRITABLE = 3, LARGE = 0x80 };
    uint64_t *gdt = (void *)(guest->memory + GDT);
    gdt[2] = 0x00af9b000000ffff;
    gdt[3] = 0x00cf93000000ffff;
    *(uint64_t *)(guest->memory + PML4) = PDPT | PRESENT_WRITABLE;
    for (word i = 0; i < 4; i++)
        ((uint64_t *)(guest->memory + PDPT))[i] = (PD + i * 0x1000) | PRESENT_WRITABLE;
    for (word i = 0; i < 2048; i++)
        ((uint64_t *)(guest->memory + PD))[i] = i << 21 | LARGE | PRESENT_WRITABLE;

    struct kvm_sregs system;
    CONTROL(guest->processor, KVM_GET_SREGS, &system);
    struct kvm_segment code = {
        .limit = ~0, .selector = 16, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {
        .limit = ~0, .selector = 24, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    system.cs = code;
    system.ds = system.es = system.fs = system.gs = system.ss = data;
    system.gdt.base = GDT;
    system.gdt.limit = 31;
    system.cr3 = PML4;
    system.cr4 = 1 << 5;                 /* PAE */
    system.cr0 = 1u << 31 | 1 << 4 | 1;  /* PG, ET, PE */
    system.efer = 1 << 10 | 1 << 8;      /* LMA, LME */
    CONTROL(guest->processor, KVM_SET_SREGS, &system);
    struct kvm_regs registers = {.rip = rip, .rsi = rsi, .rsp = 0x8000, .rflags = 2};
    CONTROL(guest->processor, KVM_SET_REGS, &registers);
}

int program(void);

__attribute__((noreturn, used)) static void begin(void)
{
    call(EXIT, program(), 0, 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n_start: and $-16, %rsp\ncall begin\n");
