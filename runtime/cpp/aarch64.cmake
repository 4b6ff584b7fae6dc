# Cross-compiling for 64-bit ARM with Debian's compiler; tests run under user-mode emulation.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(SMELT_QEMU NAMES qemu-aarch64-static qemu-aarch64 REQUIRED)
# Debian's cross libraries lie there.
set(CMAKE_CROSSCOMPILING_EMULATOR "${SMELT_QEMU};-L;/usr/aarch64-linux-gnu;-cpu;max")
