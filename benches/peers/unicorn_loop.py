"""Runs one guest loop on Unicorn 2 (PyPI: unicorn) without hooks and prints the seconds it took.

usage: unicorn_loop.py HEX-CODE ITERATIONS CODE DATA DATA-BYTES STACK-END
"""

import sys
import time

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_REG_R15, UC_X86_REG_RSP

code = bytes.fromhex(sys.argv[1])
iterations, code_at, data_at, data_bytes, stack_end = (int(word) for word in sys.argv[2:7])

machine = Uc(UC_ARCH_X86, UC_MODE_64)
machine.mem_map(code_at, 0x1000)
machine.mem_map(data_at, data_bytes)
machine.mem_map(stack_end - 0x10000, 0x10000)
machine.mem_write(code_at, code)
machine.reg_write(UC_X86_REG_RSP, stack_end - 64)


def run(count):
    machine.reg_write(UC_X86_REG_R15, count)
    started = time.perf_counter()
    machine.emu_start(code_at, code_at + len(code) - 1)
    return time.perf_counter() - started


run(max(1, iterations // 100))  # translate
print(run(iterations))
