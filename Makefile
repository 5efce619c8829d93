# SPDX-License-Identifier: GPL-2.0
#
# Switchboard: circuit-switched sockets for virtual machines.
#
#	make		modules for this kernel, tools
#	make demo	a file between two VMs, before your eyes
#	make check	all tests
#	make bench	the figures
#	make help	the rest

OUT	?= $(CURDIR)/build
KDIR	?= /lib/modules/$(shell uname -r)/build
PREFIX	?= /usr
export OUT

all: modules tools

help:
	@echo "make                modules for the running kernel (KDIR=...), the tools and libcircuit"
	@echo "make install        all, to this machine (DESTDIR=..., PREFIX=$(PREFIX))"
	@echo "make demo           boot a host with two VMs and move a file between them"
	@echo "make check          every test, on the stock and on the debug kernel; those that have not begun"
	@echo "                    after LIMIT=60 minutes are skipped, 0: none is"
	@echo "make check-quick    every test but those on the debug kernel"
	@echo "make check-kunit    unit tests only"
	@echo "make check-lib      libcircuit only: on this machine, no module, no lab"
	@echo "make fuzz-lib       the same, with a far end that plays tricks for FUZZ=600 seconds"
	@echo "make check-stock    the scenarios on the stock kernel, check-debug: on the debug kernel;"
	@echo "                    SCENARIOS=\"basic life\" for some of them only"
	@echo "make check-icount   what an operation takes of instructions, against bounds"
	@echo "make check-static   sparse, shellcheck, the netlink specification"
	@echo "make soak           tests of sockets and mappings at full size: an hour or so, no part of check"
	@echo "make bench-native   libcircuit between two processes of this machine, against AF_UNIX and others"
	@echo "make bench          that, and circuits against virtio-net and others, same guests, same run;"
	@echo "                    BENCH=quick: once and shortly, to see that it works"
	@echo "make bench-reference  have Documentation/performance and README.md say what make bench has found"
	@echo "make packages       install the Debian packages all of this needs"
	@echo "make clean"

# kbuild leaves its products beside the sources, so it works on a copy of them.
modules:
	tools/build-modules $(KDIR) $(OUT)/modules

tools:
	$(MAKE) -C tools O=$(OUT)/tools
	$(MAKE) -C lib O=$(OUT)/libcircuit

# kbuild runs depmod only where it finds a System.map, which packages of headers do not have.
install: modules tools
	$(MAKE) -C $(KDIR) M=$(OUT)/modules/src INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=extra \
		modules_install
	$(if $(DESTDIR),,depmod "$$(cat $(KDIR)/include/config/kernel.release)")
	$(MAKE) -C tools O=$(OUT)/tools PREFIX=$(PREFIX) install
	$(MAKE) -C lib O=$(OUT)/libcircuit PREFIX=$(PREFIX) install

packages:
	tools/lab/install-packages

demo:
	selftests/run demo

check:
	selftests/run check

check-quick check-kunit check-static check-lib check-stock check-debug check-icount soak bench \
	bench-native bench-reference:
	selftests/run $@

# Longer than `make check` has time for: make fuzz-lib FUZZ=3600
fuzz-lib: export FUZZ ?= 600
fuzz-lib:
	selftests/run check-lib

clean:
	rm -rf $(OUT)

.PHONY: all help modules tools install packages demo check check-quick check-kunit check-static \
	check-lib check-stock check-debug check-icount soak bench bench-native bench-reference \
	fuzz-lib clean
