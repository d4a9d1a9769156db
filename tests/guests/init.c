/* The first program of a nested Linux: prints a line and leaves through port F4h. */
#include "host.h"

int program(void)
{
    print("init of the nested guest\n");
    must("iopl", call(IOPL, 3, 0, 0, 0, 0));
    __asm__ volatile("outb %b0, $0xf4" : : "a"(0));
    return 1;
}
