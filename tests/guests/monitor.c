/* A virtual-machine monitor that boots an unmodified Linux, /vmlinuz with /nested, to its init. KVM has the interrupt
   controllers and the timer; here are a serial port and port F4h, which ends the guest. */
#include "host.h"
#include <asm/bootparam.h>

enum {
    MEMORY = 160 << 20,
    KERNEL = 1 << 20,
    INITRD = 128 << 20,
    ZERO_PAGE = 0x10000,
    COMMAND_LINE = 0x20000,
    LOW_MEMORY = 0x9fc00,
};

static const char command_line[] = "console=ttyS0 quiet acpi=off cryptomgr.notests i8042.nokbd i8042.noaux panic=-1";

/* Reads a file; its length. */
static size_t load(const char *path, uint8_t *to)
{
    int file = must(path, call(OPEN, (word)path, 0, 0, 0, 0));
    size_t length = 0;
    long got;
    while ((got = must(path, call(READ, file, (word)to + length, 1 << 20, 0, 0))) > 0)
        length += got;
    call(CLOSE, file, 0, 0, 0, 0);
    return length;
}

/* Linux's 64-bit boot protocol. */
static void load_linux(struct guest *guest)
{
    enum { SECTOR = 512, SETUP_HEADER = 0x1f1, ENTRY_64 = 0x200 };
    uint8_t *image = guest->memory + KERNEL;
    size_t length = load("/vmlinuz", image);
    struct boot_params *zero_page = (void *)(guest->memory + ZERO_PAGE);
    memcpy(&zero_page->hdr, image + SETUP_HEADER, sizeof zero_page->hdr);
    size_t setup = (zero_page->hdr.setup_sects + 1) * SECTOR;
    memcpy(image, image + setup, length - setup);
    memcpy(guest->memory + COMMAND_LINE, command_line, sizeof command_line);
    zero_page->hdr.type_of_loader = 0xff;
    zero_page->hdr.cmd_line_ptr = COMMAND_LINE;
    zero_page->hdr.ramdisk_image = INITRD;
    zero_page->hdr.ramdisk_size = load("/nested", guest->memory + INITRD);
    struct boot_e820_entry low = {0, LOW_MEMORY, 1}, high = {KERNEL, MEMORY - KERNEL, 1};
    zero_page->e820_table[0] = low;
    zero_page->e820_table[1] = high;
    zero_page->e820_entries = 2;
    enter_64_bit_mode(guest, KERNEL + ENTRY_64, ZERO_PAGE);
}

/* A 16550 whose transmitter is always empty. */
static struct {
    uint8_t registers[8];
} serial;

enum { SERIAL = 0x3f8, DATA = 0, ENABLE, IDENTIFY, LINE_CONTROL, MODEM_CONTROL, LINE_STATUS, MODEM_STATUS };
enum { SERIAL_LINE = 4, TRANSMITTER = 2, CLOCK_DATA = 0x71, DIVISOR_LATCH = 0x80, LOOP = 0x10 };

static int wants_transmitter(void)
{
    return serial.registers[ENABLE] & TRANSMITTER;
}

static void raise(struct guest *guest)
{
    for (int level = 1; level >= 0; level--) {
        struct kvm_irq_level line = {.irq = SERIAL_LINE, .level = level};
        CONTROL(guest->machine, KVM_IRQ_LINE, &line);
    }
}

static uint8_t read_serial(unsigned index)
{
    switch (index) {
    case IDENTIFY:
        return wants_transmitter() ? 2 : 1;
    case LINE_STATUS:
        return 0x60;
    case MODEM_STATUS:
        return serial.registers[MODEM_CONTROL] & LOOP ? (serial.registers[MODEM_CONTROL] & 0xf) << 4 : 0xb0;
    case DATA:
        return 0;
    default:
        return serial.registers[index];
    }
}

static void write_serial(struct guest *guest, unsigned index, uint8_t value)
{
    int latch = serial.registers[LINE_CONTROL] & DIVISOR_LATCH;
    if (latch && index <= ENABLE)
        return;
    if (index == DATA && !(serial.registers[MODEM_CONTROL] & LOOP)) {
        char text[] = {value, 0};
        print(text);
    }
    serial.registers[index] = value;
    if (index <= ENABLE && wants_transmitter())
        raise(guest);
}

/* One access to a port; whether the guest goes on. */
static int port(struct guest *guest, unsigned port, int is_out, uint8_t *data, unsigned size)
{
    unsigned index = port - SERIAL;
    if (is_out && port == 0xf4)
        return 0;
    if (!is_out)
        memset(data, port == CLOCK_DATA ? 0 : 0xff, size); /* FFh would be a clock that is never ready */
    if (index < sizeof serial.registers && is_out)
        write_serial(guest, index, *data);
    else if (index < sizeof serial.registers)
        *data = read_serial(index);
    return 1;
}

/* Runs the guest until it leaves through port F4h: the number of its exits to here. */
static word run(struct guest *guest)
{
    struct kvm_run *run = guest->run;
    for (word exits = 1;; exits++) {
        CONTROL(guest->processor, KVM_RUN, 0);
        if (run->exit_reason == KVM_EXIT_MMIO) {
            memset(run->mmio.data, 0xff, sizeof run->mmio.data);
            continue;
        }
        if (run->exit_reason != KVM_EXIT_IO) {
            print_number("exit ", run->exit_reason);
            print_number(", ", run->internal.suberror);
            print("\n");
            return exits;
        }
        uint8_t *data = (uint8_t *)run + run->io.data_offset;
        for (word i = 0; i < run->io.count; i++, data += run->io.size)
            if (!port(guest, run->io.port, run->io.direction, data, run->io.size))
                return exits;
    }
}

int program(void)
{
    int kvm = open_file("/dev/kvm");
    struct guest guest = {.machine = new_machine(kvm)};
    CONTROL(guest.machine, KVM_CREATE_IRQCHIP, 0);
    struct kvm_pit_config timer = {0};
    CONTROL(guest.machine, KVM_CREATE_PIT2, &timer);
    add_processor(kvm, &guest, MEMORY);
    load_linux(&guest);
    print_number("exits to the monitor: ", run(&guest));
    print("\n");
    return 0;
}
