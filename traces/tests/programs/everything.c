/* A program without a C library that does what is hard to record. It exits with 42, or with the number of the
   first check that failed. Build: cc -O1 -nostdlib -static -fno-stack-protector -fno-pie -no-pie everything.c */

typedef unsigned long u64;
typedef unsigned char u8;

static long call(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define CHECK(number, condition) do { if (!(condition)) call(231, number, 0, 0, 0, 0, 0); } while (0)

/* A plain load, which a reader of the trace can check against memory. */
static u64 load(const void *from) {
    u64 value;
    __asm__ volatile("mov (%1), %0" : "=r"(value) : "r"(from) : "memory");
    return value;
}

static u8 buffer[20000], copy[20000];
static volatile int usr1, segv, trap;

struct action { void (*handler)(int, void *, void *); u64 flags; void (*restorer)(void); u64 mask; };

__asm__("restorer: mov $15, %eax\n syscall\n");
void restorer(void);

static void handle(int signal, void *info, void *context) {
    u64 *registers = (u64 *)((u8 *)context + 40); /* r8 ... rip is the 17th */
    (void)info;
    if (signal == 10) usr1++;
    if (signal == 5) trap++;
    if (signal == 11) {
        segv++;
        registers[16] = load(registers + 16) + 3; /* over the three bytes of mov (%rax),%rax */
    }
}

static void install(int signal) {
    struct action action = { handle, 0x04000004, restorer, 0 };
    CHECK(1, call(13, signal, (long)&action, 0, 8, 0, 0) == 0);
}

static void strings(void) {
    u64 count = 5000, flags;
    u8 *to = buffer + 3, *from;
    __asm__ volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(7) : "memory");
    CHECK(2, count == 0 && buffer[3] == 7 && buffer[5002] == 7 && buffer[5003] == 0);
    count = 5; to = copy; from = buffer;
    __asm__ volatile("rep movsb" : "+c"(count), "+D"(to), "+S"(from) : : "memory");
    CHECK(3, copy[3] == 7 && copy[5] == 0);
    count = 1000; to = copy + 19992; from = buffer + 8000;
    __asm__ volatile("std; rep movsq; cld" : "+c"(count), "+D"(to), "+S"(from) : : "memory");
    CHECK(4, copy[19992 - (8000 - 3000)] == 7);
    count = 100; to = buffer;
    __asm__ volatile("repne scasb" : "+c"(count), "+D"(to) : "a"(7) : "memory", "cc");
    CHECK(5, count == 96);
    count = 0; to = buffer;
    __asm__ volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(9) : "memory");
    CHECK(6, buffer[0] == 0);
    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    CHECK(7, !(flags & 0x100));
    __asm__ volatile("syscall; mov %%r11, %0" : "=r"(flags) : "a"(39) : "rcx", "r11", "memory");
    CHECK(8, !(flags & 0x100));
}

static void kernel_writes(void) {
    long file = call(2, (long)"/dev/zero", 0, 0, 0, 0, 0);
    CHECK(9, file >= 0 && (u8)load(buffer + 100) == 7);
    CHECK(10, call(0, file, (long)buffer + 50, 4000, 0, 0, 0) == 4000 && load(buffer + 100) == 0 && (u8)load(buffer + 4500) == 7);
    CHECK(11, call(0, file, (long)buffer + 4999, 2, 0, 0, 0) == 2 && (u8)load(buffer + 5000) == 0);
}

static void signals(void) {
    long value = 1;
    install(10); install(11); install(5);
    call(62, call(39, 0, 0, 0, 0, 0, 0), 10, 0, 0, 0, 0);
    CHECK(12, usr1 == 1);
    /* The pages of the coming signal frame are read before the kernel writes it. */
    for (int below = 200; below < 6000; below += 400) load((u8 *)&value - below);
    __asm__ volatile("mov (%0), %0" : "+a"(value));
    CHECK(13, segv == 1 && value == 1);
    __asm__ volatile("int3");
    CHECK(14, trap == 1);
}

static void odd_operands(void) {
    u64 bits[64] = { 0 }, index = 64 * 9 + 5;
    long top;
    __asm__ volatile("bts %1, %0" : "+m"(bits[20]) : "r"(index) : "memory", "cc");
    CHECK(15, load(bits + 29) == 1 << 5);
    index = -64 * 9 + 3;
    __asm__ volatile("bts %1, %0" : "+m"(bits[20]) : "r"(index) : "memory", "cc");
    CHECK(16, load(bits + 11) == 1 << 3);
    __asm__ volatile("sub $136, %%rsp; movq $0, 8(%%rsp); pushq $77; popq 8(%%rsp); mov 8(%%rsp), %0; add $136, %%rsp"
                     : "=r"(top) : : "memory");
    CHECK(17, top == 77);
}

static void grown_stack(void) {
    u64 count = 40000, sum = 0;
    u8 far[300000];
    u8 *to = far;
    __asm__ volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(3) : "memory");
    for (int i = 39000; i < 42000; i++) sum += (u8)load(far + i);
    CHECK(18, sum >= 3000);
}

static void made_code(void) {
    u8 *code = (u8 *)call(9, 0, 8192, 7, 0x22, -1, 0);
    u8 *place = code + 4093; /* mov $imm32, %eax; ret: over the end of a page */
    int (*function)(void) = (int (*)(void))(u64)place;
    place[0] = 0xb8; place[1] = 1; place[2] = 0; place[3] = 0; place[4] = 0; place[5] = 0xc3;
    CHECK(19, function() == 1 && function() == 1 && function() == 1);
    place[4] = 1;
    CHECK(20, function() == 1 + (1 << 24));
    CHECK(21, call(10, (long)code, 8192, 5, 0, 0, 0) == 0 && function() == 1 + (1 << 24));
}

static void processor(void) {
    unsigned a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    CHECK(22, !(c >> 28 & 1) && d >> 26 & 1);
}

__attribute__((force_align_arg_pointer)) void _start(void) {
    strings();
    kernel_writes();
    signals();
    odd_operands();
    grown_stack();
    made_code();
    processor();
    call(231, 42, 0, 0, 0, 0, 0);
}
