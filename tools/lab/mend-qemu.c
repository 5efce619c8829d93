// SPDX-License-Identifier: GPL-2.0
/*
 * mend-qemu.so - preloaded, takes a fault out of a QEMU that emulates SVM
 *
 * A guest of the emulated KVM hangs, or dies of a triple fault, every now and then, and now and
 * then the emulated host does; the busier the machine, the more often. The cause: VMRUN with a
 * pending event of type "external interrupt" delivers it to the guest, and leaves its number in
 * exception_index besides. That is of no consequence as long as the next thing to happen is an
 * exit or an exception, which write over it; but when the processor's thread has been asked to
 * look up (another thread wants it to pause, say), the main loop takes the number for an exception
 * that has not been delivered yet and delivers it: the same interrupt twice, the second time with
 * interrupts disabled. In a guest's kernel that may pass unnoticed. Had the first come from user
 * space, though, the second finds the entry code before SWAPGS.
 *
 * What is to go is one store: helper_vmrun() in target/i386/tcg/sysemu/svm_helper.c, case
 * SVM_EVTINJ_TYPE_INTR. It is found here by the code around it, as Debian's compiler made it; where
 * that is not found exactly once, nothing is touched, and a line says so.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANY 0x100	/* offsets, that differ from build to build */

/* env in rbx; the vector goes from r12b to esi, its error code is in r13d. */
static const uint16_t code[] = {
	0x41, 0x0f, 0xb6, 0xf4,					/* movzbl %r12b, %esi */
	0x44, 0x89, 0xab, ANY, ANY, 0, 0,			/* env->error_code = r13d */
	/* STORE */
	0x89, 0xb3, ANY, ANY, 0xff, 0xff,			/* cs->exception_index = esi */
	0xc7, 0x83, ANY, ANY, 0, 0, 0, 0, 0, 0,			/* env->exception_is_int = 0 */
	0x48, 0xc7, 0x83, ANY, ANY, 0, 0, 0xff, 0xff, 0xff, 0xff, /* ->exception_next_eip = -1 */
	0xf6, 0x05, ANY, ANY, ANY, ANY, 0x02,			/* logging? */
	0x0f, 0x85, ANY, ANY, ANY, ANY,
	0xba, 1, 0, 0, 0,					/* do_interrupt_x86_hardirq(env, esi, 1) */
	0x48, 0x89, 0xdf,
	0xe8,
};
#define LENGTH	(sizeof(code) / sizeof(code[0]))
#define STORE	11

static const uint8_t nop[] = { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 };

struct text {
	uint8_t *start;
	size_t size;
};

static bool matches(const uint8_t *p)
{
	for (size_t i = 0; i < LENGTH; i++)
		if (code[i] != ANY && code[i] != p[i])
			return false;
	return true;
}

/* The program itself comes first, and its text is one segment. */
static int text_of(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct text *text = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_X) {
			text->start = (uint8_t *)info->dlpi_addr + p->p_vaddr;
			text->size = p->p_memsz;
		}
	}
	return 1;
}

__attribute__((constructor)) static void mend(void)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), first, size;
	uint8_t *store = NULL;
	struct text text = {};
	int hits = 0;

	dl_iterate_phdr(text_of, &text);
	for (size_t i = 0; i + LENGTH <= text.size; i++) {
		if (matches(text.start + i)) {
			store = text.start + i + STORE;
			hits++;
		}
	}
	if (hits != 1) {
		fprintf(stderr, "mend-qemu: not the QEMU that it knows: left as it is\n");
		return;
	}
	first = (uintptr_t)store & -page;
	size = (uintptr_t)store + sizeof(nop) - first;
	if (mprotect((void *)first, size, PROT_READ | PROT_WRITE)) {
		perror("mend-qemu: left as it is");
		return;
	}
	memcpy(store, nop, sizeof(nop));
	mprotect((void *)first, size, PROT_READ | PROT_EXEC);
}
